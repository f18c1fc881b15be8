"""Describes a source dataset as text: version, episodes, features, cameras, tasks, matching presets."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import TYPE_CHECKING

from groot_ray.embodiment.load import load_embodiment, preset_names
from groot_ray.embodiment.mapping import source_width
from groot_ray.errors import DataError

if TYPE_CHECKING:
    from groot_ray.dataset.source.recording import Recording
    from groot_ray.embodiment.schema import Embodiment

COUNTERS = ("timestamp", "frame_index", "episode_index", "index", "task_index")
SHOWN = 5  # number of tasks and warnings to print; the rest are counted


def summary(source: Recording) -> str:
    """Summarize a dataset in a few lines, from its metadata and the first episode's files; decodes no images."""
    lengths = [episode.length for episode in source.episodes]
    frames = sum(lengths)
    lines = [
        str(source.location.uri),
        f"  format    {source.format}, {source.fps:g} frames per second, robot {source.robot_type or 'unnamed'}",
        f"  episodes  {len(lengths)}, {frames} frames, {frames / source.fps / 60:.1f} minutes; "
        f"{min(lengths)} to {max(lengths)} frames each, median {median(lengths):g}",
        *_features(source),
        *_cameras(source),
        *_tasks(source),
    ]
    fitting = fitting_presets(source)
    lines.append(f"  presets   {', '.join(fitting) if fitting else 'none fits; see groot-ray inspect --propose'}")
    lines.extend(f"  note      {text}" for text in notes(source))
    return "\n".join(lines)


def _features(source: Recording) -> Iterable[str]:
    for name, feature in source.features.items():
        if name in COUNTERS or name in source.cameras or not isinstance(feature, dict):
            continue
        shape = "x".join(str(n) for n in feature.get("shape") or []) or "?"
        names = source.feature_names(name)
        yield f"  column    {name}: {feature.get('dtype')} [{shape}]" + (
            f" {', '.join(names)}" if names and len(names) > 1 else ""
        )


def _cameras(source: Recording) -> Iterable[str]:
    for name in source.cameras:
        feature = source.features[name]
        details = feature.get("info") or feature.get("video_info") or {}
        shape = "x".join(str(n) for n in (feature.get("shape") or [])[:2])
        yield f"  camera    {name}: {shape or 'size unknown'}, {details.get('video.codec') or 'codec unknown'}"


def _tasks(source: Recording) -> Iterable[str]:
    counts: dict[str, int] = {}
    for episode in source.episodes:
        for task in episode.tasks:
            counts[task] = counts.get(task, 0) + 1
    texts = counts or dict.fromkeys(source.tasks.values(), 0)
    for task, count in sorted(texts.items(), key=lambda item: -item[1])[:SHOWN]:
        yield f"  task      {task!r}" + (f", {count} episode(s)" if count else "")
    if len(texts) > SHOWN:
        yield f"  task      and {len(texts) - SHOWN} more"


def fitting_presets(source: Recording) -> list[str]:
    """Presets whose source columns have this dataset's widths and whose cameras it has."""
    return [name for name in preset_names() if _fits(load_embodiment(name), source)]


def _fits(embodiment: Embodiment, source: Recording) -> bool:
    columns = embodiment.source_columns()
    if any(source.width(column) != source_width(embodiment, column) for column in columns):
        return False
    try:
        return all(source.camera(camera.source) in source.cameras for camera in embodiment.cameras)
    except DataError:
        return False


def notes(source: Recording) -> list[str]:
    """Possible surprises: notes on the metadata, episodes without a task, a first episode whose files do not fit."""
    found = source.notes()
    without = [episode.index for episode in source.episodes if not episode.tasks]
    if without and not source.tasks:
        found.append(f"{len(without)} episode(s) have no task text, the first is {without[0]}")
    first = source.episodes[0]
    try:
        rows = source.rows(first.index)
        if rows != first.length:
            found.append(f"episode {first.index} has {rows} rows, the metadata lists {first.length}")
        for camera in source.cameras:
            source.clip(first.index, camera)
    except DataError as error:
        found.append(str(error))
    return found
