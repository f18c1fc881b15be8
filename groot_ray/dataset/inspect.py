"""What a source dataset holds, as text for people: version, episodes, features, cameras, tasks, and what presets fit."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import TYPE_CHECKING

from groot_ray.embodiment.load import load_embodiment, preset_names
from groot_ray.embodiment.mapping import source_width
from groot_ray.errors import DataError

if TYPE_CHECKING:
    from groot_ray.dataset.source.lerobot_v2 import SourceDataset
    from groot_ray.embodiment.schema import Embodiment

COUNTERS = ("timestamp", "frame_index", "episode_index", "index", "task_index")
SHOWN = 5  # tasks and warnings that are printed; the rest are counted


def summary(source: SourceDataset) -> str:
    """A few lines about a dataset, from its meta data and the first episode's files; reads no pictures."""
    lengths = [episode.length for episode in source.episodes]
    frames = sum(lengths)
    lines = [
        str(source.location.uri),
        f"  format    LeRobot {source.version}, {source.fps:g} frames per second, robot {source.robot_type or 'unnamed'}",
        f"  episodes  {len(lengths)}, {frames} frames, {frames / source.fps / 60:.1f} minutes; "
        f"{min(lengths)} to {max(lengths)} frames each, {median(lengths):g} in the middle",
        *_features(source),
        *_cameras(source),
        *_tasks(source),
    ]
    fitting = fitting_presets(source)
    lines.append(f"  presets   {', '.join(fitting) if fitting else 'none fits; see groot-ray inspect --propose'}")
    lines.extend(f"  note      {text}" for text in notes(source))
    return "\n".join(lines)


def _features(source: SourceDataset) -> Iterable[str]:
    for name, feature in source.features.items():
        if name in COUNTERS or name in source.cameras or not isinstance(feature, dict):
            continue
        shape = "x".join(str(n) for n in feature.get("shape") or []) or "?"
        names = source.feature_names(name)
        yield f"  column    {name}: {feature.get('dtype')} [{shape}]" + (
            f" {', '.join(names)}" if names and len(names) > 1 else ""
        )


def _cameras(source: SourceDataset) -> Iterable[str]:
    for name in source.cameras:
        feature = source.features[name]
        details = feature.get("info") or feature.get("video_info") or {}
        shape = "x".join(str(n) for n in (feature.get("shape") or [])[:2])
        yield f"  camera    {name}: {shape or 'size unknown'}, {details.get('video.codec') or 'codec unknown'}"


def _tasks(source: SourceDataset) -> Iterable[str]:
    counts: dict[str, int] = {}
    for episode in source.episodes:
        for task in episode.tasks:
            counts[task] = counts.get(task, 0) + 1
    texts = counts or dict.fromkeys(source.tasks.values(), 0)
    for task, count in sorted(texts.items(), key=lambda item: -item[1])[:SHOWN]:
        yield f"  task      {task!r}" + (f", {count} episode(s)" if count else "")
    if len(texts) > SHOWN:
        yield f"  task      and {len(texts) - SHOWN} more"


def fitting_presets(source: SourceDataset) -> list[str]:
    """Presets whose source columns have this dataset's widths and whose cameras it has."""
    return [name for name in preset_names() if _fits(load_embodiment(name), source)]


def _fits(embodiment: Embodiment, source: SourceDataset) -> bool:
    columns = embodiment.source_columns()
    if any(source.width(column) != source_width(embodiment, column) for column in columns):
        return False
    try:
        return all(source.camera(camera.source) in source.cameras for camera in embodiment.cameras)
    except DataError:
        return False


def notes(source: SourceDataset) -> list[str]:
    """What may surprise: totals that do not agree, episodes without task, files of the first episode that are not there."""
    found = []
    info = source.info
    for key, actual in (
        ("total_episodes", len(source.episodes)),
        ("total_frames", sum(e.length for e in source.episodes)),
    ):
        if info.get(key) is not None and info[key] != actual:
            found.append(f"meta/info.json says {key} {info[key]}, meta/episodes.jsonl gives {actual}")
    if not info.get("codebase_version"):
        found.append("meta/info.json names no codebase_version; it is read as " + source.version)
    without = [episode.index for episode in source.episodes if not episode.tasks]
    if without and not source.tasks:
        found.append(f"{len(without)} episode(s) have no task text, the first is {without[0]}")
    first = source.episodes[0]
    try:
        rows = source.rows(first.index)
        if rows != first.length:
            found.append(f"episode {first.index} has {rows} rows, meta/episodes.jsonl lists {first.length}")
        for camera in source.cameras:
            source.video(first.index, camera)
    except DataError as error:
        found.append(str(error))
    return found
