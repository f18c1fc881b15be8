"""Converts one episode to the files of GR00T's layout, as a function of its arguments alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from groot_ray.convert.measure import episode_sampling, episode_tasks
from groot_ray.convert.resample import Sampling, resample_action, resample_state
from groot_ray.dataset.groot import layout
from groot_ray.embodiment.mapping import map_columns
from groot_ray.errors import DataError
from groot_ray.experiment.schema import ConversionOptions
from groot_ray.machine_memory import out_of_memory

if TYPE_CHECKING:
    import pyarrow as pa

    from groot_ray.dataset.source.recording import Recording
    from groot_ray.embodiment.components import Camera
    from groot_ray.embodiment.schema import Embodiment


@dataclass(frozen=True)
class Numbering:
    """Numbers of a converted episode: its index, its first frame's index in the part, and the part's task numbers."""

    index: int
    first: int
    tasks: Mapping[str, int]


@out_of_memory("lower conversion.resolution or conversion.workers")
def convert_episode(
    source: Recording,
    index: int,
    numbering: Numbering,
    embodiment: Embodiment,
    options: ConversionOptions,
    folder: Path,
) -> dict[str, Path]:
    """Convert source episode `index` into `folder`.

    Returns the written files by path in the converted dataset, videos first. Equal arguments give equal
    bytes. Raises `DataError` naming the episode (and the column or camera) if the recording is broken.
    """
    table, sampling, rows = numeric_table(source, index, numbering, embodiment, options)
    files = {}
    for camera in embodiment.cameras:
        path = layout.video_path(camera.feature, numbering.index)
        files[path] = folder / path
        files[path].parent.mkdir(parents=True, exist_ok=True)
        convert_video(source, index, camera, sampling, rows, options, files[path])
    path = layout.data_path(numbering.index)
    files[path] = folder / path
    write_parquet(table, files[path])
    return files


def numeric_table(
    source: Recording, index: int, numbering: Numbering, embodiment: Embodiment, options: ConversionOptions
) -> tuple[pa.Table, Sampling, int]:
    """An episode's converted columns, the source frames that they come from, and its number of source frames."""
    tasks = episode_tasks(source, index, embodiment)
    needed = [name for name in embodiment.source_columns() if name != embodiment.language.source]
    columns = source.read_columns(index, [*needed, "timestamp"], optional=["timestamp"])
    timestamps = columns.pop("timestamp", None)
    where = source.where(index)
    sampling = episode_sampling(source, index, len(tasks), options, timestamps)
    state = map_columns(embodiment, "state", columns, where)
    action = map_columns(embodiment, "action", columns, where)
    converted = layout.episode_columns(
        resample_state(state, embodiment.kinds("state"), sampling),
        resample_action(action, embodiment.kinds("action"), sampling),
        options.fps,
        numbering.index,
        numbering.first,
        np.asarray([numbering.tasks[tasks[i]] for i in sampling.indices], np.int64),
    )
    return to_table(converted), sampling, len(tasks)


def convert_video(
    source: Recording,
    index: int,
    camera: Camera,
    sampling: Sampling,
    rows: int,
    options: ConversionOptions,
    target: Path,
) -> None:
    """Select, fit and encode the frames of one camera; raises `DataError` naming episode and camera."""
    from groot_ray.video.clip import open_clip
    from groot_ray.video.encode import VideoWriter
    from groot_ray.video.transform import PlaneFitter

    fit = PlaneFitter(options.resolution, camera.fit)
    clip = source.clip(index, camera.source)
    try:
        with open_clip(clip) as frames:
            if frames.count < rows:
                raise DataError(f"the video has {frames.count} frames for {rows} rows")
            with VideoWriter(
                target, options.fps, options.resolution, options.codec, options.gop, options.quality
            ) as writer:
                for frame in frames.decode(sampling.indices):
                    writer.write(fit(frame))
    except DataError as error:
        raise DataError(f"{source.where(index)}, camera {camera.source!r}: {error}") from error


def to_table(columns: Mapping[str, np.ndarray]) -> pa.Table:
    """Arrays [T] and [T, D] of any dtype as a table of the same types; vectors become lists of fixed length."""
    import pyarrow as pa

    def column(values: np.ndarray) -> pa.Array:
        values = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
        if values.dtype.kind in "iuf":  # `pa.array` would import pandas, 50 MB per worker
            flat = pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), values.size, [None, pa.py_buffer(values)])
        else:
            flat = pa.array(values.reshape(-1))
        return flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])

    return pa.table({name: column(values) for name, values in columns.items()})


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write a table with fixed settings, so that equal tables give equal bytes."""
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="snappy", use_dictionary=False, row_group_size=1 << 20)
