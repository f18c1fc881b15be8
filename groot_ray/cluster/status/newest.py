"""The newest work of each stage in an experiment's folder, from storage alone."""

from __future__ import annotations

from collections.abc import Iterator

from groot_ray.experiment.stages import STAGE_NAMES
from groot_ray.storage.lease import ATTEMPTS
from groot_ray.storage.location import Location


def stage_names(root: Location) -> list[str]:
    """Names of the stages with results, finished or not, in an experiment's folder, in the pipeline's order."""
    there = {folder.name for folder in root.folders()}
    others = sorted(name for name in there - set(STAGE_NAMES) if any(work_folders(root, name)))
    return [name for name in STAGE_NAMES if name in there] + others


def work_folders(root: Location, stage: str) -> Iterator[Location]:
    """Folders of a stage's results, finished or not."""
    for folder in (root / stage).folders():
        if next(iter((folder / ATTEMPTS).list(recursive=False)), None) is not None:
            yield folder


def newest_work(root: Location, stage: str) -> Location | None:
    """The folder of a stage in which an attempt was claimed last, or None before the first."""
    return max(work_folders(root, stage), key=_last_claim, default=None)


def _last_claim(folder: Location) -> float:
    """When the last attempt at a stage was claimed, in seconds of the storage's clock."""
    entries = (folder / ATTEMPTS).list(recursive=False)
    return max((e.modified for e in entries if e.relative.removesuffix(".json").isdigit()), default=0.0)
