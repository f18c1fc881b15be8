"""Checks one episode: its columns, counters, instructions and videos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from groot_ray.dataset.checks.report import Finding
from groot_ray.dataset.columns import parquet_file, read_columns
from groot_ray.dataset.features import camera_spellings, width
from groot_ray.errors import DataError, did_you_mean
from groot_ray.storage import open_location

if TYPE_CHECKING:
    import numpy as np

    from groot_ray.dataset.groot.dataset import GrootDataset


@dataclass(frozen=True)
class ColumnSummary:
    """Count, mean, squared deviations, minimum and maximum of a float column in one episode, each float64 [W]."""

    count: int
    mean: np.ndarray
    squares: np.ndarray
    smallest: np.ndarray
    largest: np.ndarray


@dataclass
class EpisodeCheck:
    """Findings about an episode, and what the checks of the dataset need from it."""

    findings: list[Finding] = field(default_factory=list)
    rows: int = 0
    first_index: int | None = None
    gops: list[int] = field(default_factory=list)
    columns: dict[str, ColumnSummary] | None = None


def check_episode(dataset: GrootDataset, position: int, videos: bool) -> EpisodeCheck:
    """Check the files of the episode at a position; errors become findings."""
    check = EpisodeCheck()
    episode = dataset.episodes[position]
    try:
        columns = _columns(dataset, position, check)
    except DataError as error:
        check.findings.append(Finding(str(error), episode.index))
        return check
    check.rows = len(next(iter(columns.values()))) if columns else 0
    if check.rows == 0:
        check.findings.append(Finding("has no rows", episode.index))
        return check
    if check.rows != episode.length:
        check.findings.append(
            Finding(f"has {check.rows} rows, but meta/episodes.jsonl lists {episode.length}", episode.index)
        )
    check.findings.extend(_values(columns, episode.index))
    check.findings.extend(_counters(dataset, columns, episode.index))
    check.findings.extend(_instructions(dataset, columns, position))
    check.findings.extend(_slices(dataset, columns, episode.index))
    if "index" in columns:
        check.first_index = int(columns["index"].reshape(-1)[0])
    if videos:
        for key in dataset.modality.video:
            check.findings.extend(_video(dataset, position, key, check))
    check.columns = {name: _summarize(values) for name, values in columns.items() if values.dtype.kind == "f"}
    return check


def _columns(dataset: GrootDataset, position: int, check: EpisodeCheck) -> dict[str, np.ndarray]:
    """All columns that info.json or modality.json name; each unreadable one becomes a finding."""
    index = dataset.episodes[position].index
    location = open_location(dataset.data(position))
    with parquet_file(location, dataset.where(position)) as file:
        present = list(file.schema_arrow.names)
    declared = [
        name
        for name, feature in dataset.features.items()
        if isinstance(feature, dict) and feature.get("dtype") not in ("video", "image")
    ]
    needed = [s.column for s in (*dataset.modality.state.values(), *dataset.modality.action.values())]
    columns: dict[str, np.ndarray] = {}
    for name in dict.fromkeys([*needed, *declared]):
        if name not in present:
            check.findings.append(
                Finding(f"the column is missing from the parquet file{did_you_mean(name, present)}", index, name)
            )
            continue
        try:
            columns |= read_columns(location, [name], f"episode {index}", {name: width(dataset.features, name)})
        except DataError as error:
            check.findings.append(Finding(str(error), index, name))
    return columns


def _values(columns: dict[str, np.ndarray], index: int) -> Iterator[Finding]:
    import numpy as np

    for name, values in columns.items():
        if values.dtype.kind != "f":
            continue
        bad = ~np.isfinite(values.reshape(len(values), -1))
        if bad.any():
            row, dim = (int(i) for i in np.argwhere(bad)[0])
            found = values.reshape(len(values), -1)[row, dim]
            yield Finding(f"holds {found} at row {row}, dimension {dim}; {int(bad.sum())} such value(s)", index, name)


def _counters(dataset: GrootDataset, columns: dict[str, np.ndarray], index: int) -> Iterator[Finding]:
    """Check the values of frame_index, episode_index, index and timestamp."""
    import numpy as np

    rows = np.arange(len(next(iter(columns.values()))))
    flat = {
        name: columns[name].reshape(-1)
        for name in ("frame_index", "episode_index", "index", "timestamp")
        if name in columns
    }
    if "frame_index" in flat and (flat["frame_index"] != rows).any():
        yield Finding("does not count the frames from 0", index, "frame_index")
    if "episode_index" in flat and (flat["episode_index"] != index).any():
        yield Finding(
            f"holds {int(flat['episode_index'][flat['episode_index'] != index][0])}, expected {index}",
            index,
            "episode_index",
        )
    if "index" in flat and (np.diff(flat["index"]) != 1).any():
        yield Finding("does not increase by one per frame", index, "index", warning=True)
    if "timestamp" in flat and np.isfinite(flat["timestamp"]).all():
        times = flat["timestamp"].astype(np.float64)
        if (np.diff(times) <= 0).any():
            yield Finding(f"does not increase at row {int(np.argmax(np.diff(times) <= 0)) + 1}", index, "timestamp")
        elif (np.abs(times - times[0] - rows / dataset.fps) > 0.5 / dataset.fps).any():
            row = int(np.argmax(np.abs(times - times[0] - rows / dataset.fps) > 0.5 / dataset.fps))
            yield Finding(
                f"is {times[row] - times[0]:.3f} s at row {row}, but {dataset.fps:g} frames per second give "
                f"{row / dataset.fps:.3f} s",
                index,
                "timestamp",
                warning=True,
            )


def _instructions(dataset: GrootDataset, columns: dict[str, np.ndarray], position: int) -> Iterator[Finding]:
    """Check that task numbers exist, and that the language key `task` has a text."""
    episode = dataset.episodes[position]
    for name in dict.fromkeys(["task_index", *dataset.modality.annotation.values()]):
        values = columns.get(name)
        if values is None or values.dtype == object:
            continue
        unknown = sorted({int(number) for number in values.reshape(-1)} - set(dataset.tasks))
        if unknown:
            yield Finding(f"holds task {unknown[0]}, which meta/tasks.jsonl does not list", episode.index, name)
    if not episode.tasks:
        yield Finding(
            "has no task text in meta/episodes.jsonl", episode.index, warning=bool(dataset.modality.annotation)
        )
    elif dataset.tasks:
        unlisted = [task for task in episode.tasks if task not in dataset.tasks.values()]
        if unlisted:
            yield Finding(
                f"has the task {unlisted[0]!r}, which meta/tasks.jsonl does not list", episode.index, warning=True
            )


def _slices(dataset: GrootDataset, columns: dict[str, np.ndarray], index: int) -> Iterator[Finding]:
    """Check slices of modality.json against the actual columns, for datasets whose info.json lacks widths."""
    for part, slices in (("state", dataset.modality.state), ("action", dataset.modality.action)):
        for key, slice_ in slices.items():
            values = columns.get(slice_.column)
            if (
                values is not None
                and width(dataset.features, slice_.column) is None
                and values.reshape(len(values), -1).shape[1] < slice_.end
            ):
                found = values.reshape(len(values), -1).shape[1]
                yield Finding(
                    f"has {found} dimensions, but {part} {key!r} is [{slice_.start}:{slice_.end}]", index, slice_.column
                )


def _video(dataset: GrootDataset, position: int, key: str, check: EpisodeCheck) -> Iterator[Finding]:
    """Check that a camera's video is readable, has a frame per row, and matches size, rate and codec in info.json."""
    from groot_ray.video.probe import probe

    index = dataset.episodes[position].index
    feature_name = dataset.modality.video_feature(key)
    try:
        info = probe(dataset.video(position, key))
    except DataError as error:
        yield Finding(str(error), index, feature_name)
        return
    check.gops.append(info.gop)
    if info.frames < check.rows:
        yield Finding(f"the video has {info.frames} frames for {check.rows} rows", index, feature_name)
    elif info.frames > check.rows:
        yield Finding(f"the video has {info.frames} frames for {check.rows} rows", index, feature_name, warning=True)
    if info.fps and abs(info.fps - dataset.fps) > 1e-3 * dataset.fps:
        yield Finding(
            f"the video runs at {info.fps:g} frames per second, meta/info.json says {dataset.fps:g}",
            index,
            feature_name,
        )
    yield from _as_declared(_feature(dataset, feature_name), info, index, feature_name)


def _feature(dataset: GrootDataset, name: str) -> dict[str, Any]:
    return next((dataset.features[s] for s in camera_spellings(name) if isinstance(dataset.features.get(s), dict)), {})


def _as_declared(feature: dict[str, Any], info: Any, index: int, name: str) -> Iterator[Finding]:
    shape = list(feature.get("shape") or [])
    # Some recorders write the shape as [channels, height, width], which the names reveal.
    names = feature.get("names") or []
    size = shape[1:] if shape[:1] == [3] or (names and str(names[0]).startswith("channel")) else shape[:2]
    if len(size) == 2 and size != [info.height, info.width]:
        yield Finding(
            f"the images are {info.height}x{info.width}, meta/info.json says {size[0]}x{size[1]}", index, name
        )
    details = feature.get("info") or feature.get("video_info") or {}
    codec = details.get("video.codec")
    if codec and _codec(codec) != _codec(info.codec):
        yield Finding(f"the video's codec is {info.codec}, meta/info.json says {codec}", index, name)


def _codec(name: str) -> str:
    """Normalized name of a codec, since tools name it differently."""
    return {
        "mp4v": "mpeg4",
        "avc1": "h264",
        "libx264": "h264",
        "libdav1d": "av1",
        "libsvtav1": "av1",
        "libx265": "hevc",
        "h265": "hevc",
    }.get(name, name)


def _summarize(values: np.ndarray) -> ColumnSummary:
    import numpy as np

    flat = values.reshape(len(values), -1).astype(np.float64)
    with np.errstate(all="ignore"):
        mean = flat.mean(axis=0)
        return ColumnSummary(len(flat), mean, ((flat - mean) ** 2).sum(axis=0), flat.min(axis=0), flat.max(axis=0))
