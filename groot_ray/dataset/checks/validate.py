"""Checks a dataset in GR00T's layout file by file, before a training run fails on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from groot_ray.dataset.checks.episode import EpisodeCheck, check_episode
from groot_ray.dataset.checks.report import Finding, Report
from groot_ray.dataset.checks.statistics import check_statistics
from groot_ray.dataset.features import camera_spellings, width
from groot_ray.dataset.groot import layout
from groot_ray.dataset.groot.dataset import GrootDataset
from groot_ray.dataset.groot.modality import Slice
from groot_ray.embodiment.modality import modality_json
from groot_ray.errors import DataError, did_you_mean
from groot_ray.progress import progress

THREADS = 4


def validate_dataset(path: Path | str, videos: bool = True, name: str | None = None) -> Report:
    """Check a dataset: meta files, numbering, columns, values, videos, modality slices and statistics.

    Args:
        videos: also open every video and count its frames (without decoding them).
        name: name of the dataset in the report; by default its path.

    Returns:
        The findings; nothing is raised for a broken dataset.
    """
    report = Report(name or str(path))
    try:
        dataset = GrootDataset(path)
    except DataError as error:
        report.add([Finding(str(error))])
        return report
    report.episodes = len(dataset.episodes)
    report.add(_numbering(dataset))
    report.add(_modality(dataset))
    checks = _episodes(dataset, videos)
    for check in checks:
        report.add(check.findings)
    report.frames = sum(check.rows for check in checks)
    report.add(_running_index(dataset, checks))
    report.add(_totals(dataset, report.frames))
    report.add(_key_frames(checks))
    report.add(_unlisted_files(dataset))
    report.add(check_statistics(dataset, [check.columns for check in checks if check.columns is not None]))
    return report


def _episodes(dataset: GrootDataset, videos: bool) -> list[EpisodeCheck]:
    checks = []
    with progress("validate", len(dataset.episodes), unit="episodes") as bar, ThreadPoolExecutor(THREADS) as pool:
        for check in pool.map(lambda position: check_episode(dataset, position, videos), range(len(dataset.episodes))):
            checks.append(check)
            bar.advance()
    return checks


def _numbering(dataset: GrootDataset) -> Iterator[Finding]:
    """Check that episode and task numbers are unique and run from 0 without a gap."""
    seen: set[int] = set()
    for episode in dataset.episodes:
        if episode.index in seen:
            yield Finding(f"{layout.EPISODES} lists the episode twice", episode=episode.index)
        seen.add(episode.index)
    missing = sorted(set(range(max(seen) + 1)) - seen)
    if missing:
        yield Finding(f"{layout.EPISODES} lists no episode {_some(missing)}", warning=True)
    if dataset.tasks and sorted(dataset.tasks) != list(range(len(dataset.tasks))):
        yield Finding(f"{layout.TASKS} does not number its tasks from 0 without a gap", warning=True)


def _modality(dataset: GrootDataset) -> Iterator[Finding]:
    """Check that slices are within their columns, cameras and annotations exist, and the embodiment agrees."""
    modality, features = dataset.modality, dataset.features
    for part, slices in (("state", modality.state), ("action", modality.action)):
        if not slices:
            yield Finding(f"{layout.MODALITY} has no {part} keys")
        for key, slice_ in slices.items():
            yield from _slice_in_range(part, key, slice_, features)
    for key, feature in modality.video.items():
        if features and not any(spelling in dataset.cameras for spelling in camera_spellings(feature)):
            near = did_you_mean(feature, dataset.cameras)
            yield Finding(
                f"{layout.MODALITY} video {key!r} refers to {feature!r}, which is not a video feature of "
                f"{layout.INFO}{near}",
                column=feature,
            )
    for name, column in modality.annotation.items():
        if features and column not in features:
            yield Finding(
                f"{layout.MODALITY} annotation {name!r} refers to a column that {layout.INFO} does not have"
                f"{did_you_mean(column, features)}",
                column=column,
            )
    yield from _embodiment(dataset)


def _slice_in_range(part: str, key: str, slice_: Slice, features: dict[str, Any]) -> Iterator[Finding]:
    declared = width(features, slice_.column)
    if features and slice_.column not in features:
        yield Finding(
            f"{layout.MODALITY} {part} {key!r} refers to a column that {layout.INFO} does not have",
            column=slice_.column,
        )
    elif declared is not None and slice_.end > declared:
        yield Finding(
            f"{layout.MODALITY} {part} {key!r} is [{slice_.start}:{slice_.end}] of a column with {declared} dimensions",
            column=slice_.column,
        )


def _embodiment(dataset: GrootDataset) -> Iterator[Finding]:
    try:
        embodiment = dataset.embodiment
    except DataError as error:
        yield Finding(str(error))
        return
    if embodiment is None:
        return
    for part in ("state", "action"):
        written = {key: (s.start, s.end) for key, s in getattr(dataset.modality, part).items()}
        described = {key: (s["start"], s["end"]) for key, s in modality_json(embodiment)[part].items()}
        if written != described:
            yield Finding(
                f"the {part} slices of {layout.MODALITY} differ from those of {layout.EMBODIMENT} ({embodiment.name})"
            )


def _running_index(dataset: GrootDataset, checks: Iterable[EpisodeCheck]) -> Iterator[Finding]:
    """Check that the column `index`, if present, counts frames over all episodes."""
    expected = 0
    for episode, check in zip(dataset.episodes, checks, strict=True):
        if check.first_index is not None and check.first_index != expected:
            yield Finding(
                f"starts at {check.first_index}, after {expected} frames of earlier episodes",
                episode.index,
                "index",
                warning=True,
            )
            return
        expected += check.rows


def _totals(dataset: GrootDataset, frames: int) -> Iterator[Finding]:
    totals = {"total_episodes": len(dataset.episodes), "total_frames": frames, "total_tasks": len(dataset.tasks)}
    for name, actual in totals.items():
        said = dataset.info.get(name)
        if said is not None and said != actual:
            yield Finding(f"{layout.INFO} says {name} {said}, the files have {actual}", column=name)


def _key_frames(checks: Iterable[EpisodeCheck]) -> Iterator[Finding]:
    longest = max((gop for check in checks for gop in check.gops), default=0)
    if longest > 10:
        yield Finding(
            f"videos have key frames up to {longest} frames apart, so training reads single frames slowly; "
            "groot-ray convert writes 2",
            warning=True,
        )


def _unlisted_files(dataset: GrootDataset) -> Iterator[Finding]:
    listed = {dataset.data(position) for position in range(len(dataset.episodes))}
    extra = sorted(
        file.relative_to(dataset.path).as_posix()
        for file in (dataset.path / "data").rglob("*.parquet")
        if file not in listed
    )
    if extra:
        yield Finding(
            f"{len(extra)} parquet file(s) belong to no listed episode, the first is {extra[0]}", warning=True
        )


def _some(numbers: list[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:5])
    return shown if len(numbers) <= 5 else f"{shown} and {len(numbers) - 5} more"
