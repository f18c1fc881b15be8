"""What the cluster has to know of the pipeline: where a stage's attempts are, whether it is done, and what it waits for.

Loads neither Ray nor torch, and pins nothing: reading a whole source or base model is work for the Ray cluster, not for a waiting Job.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from groot_ray.errors import ConfigurationError
from groot_ray.experiment.document import Document
from groot_ray.storage.lease import ATTEMPTS, attempts
from groot_ray.storage.location import Location, open_location


@dataclass(frozen=True)
class StageView:
    """A stage as storage knows it.

    `folder` holds the attempts: the stage's own folder, or, as long as source or base model are not pinned (so that nobody knows the
    stage's key yet), one beside the plan; `pinned` tells which.
    """

    folder: Location
    done: bool
    ready: bool
    waits_for: str | None
    pinned: bool


def look(document: Document, stage: str) -> StageView:
    """Look at a stage of a document.

    Raises:
        GrootRayError: storage cannot be read, or the document is wrong.
    """
    from groot_ray.stages.state import look as look_at

    state = look_at(document, stage, pin=False)
    if state.folder is None:
        unpinned = state.waits_for in (None, stage)
        return StageView(planning_folder(document, stage), False, unpinned, state.waits_for, False)
    return StageView(state.folder, state.done, state.ready, state.waits_for, True)


def planning_folder(document: Document, stage: str) -> Location:
    """Where a stage's Job keeps its attempts before the plan says where the stage is."""
    return experiment_location(document) / "plan" / f"{stage}-job"


def experiment_location(document: Document) -> Location:
    """The experiment's folder in storage."""
    options = document.experiment.storage
    return open_location(options.uri, options.endpoint, options.region) / document.experiment.name


def stage_names(root: Location) -> list[str]:
    """Names of the stages that have worked in an experiment's folder, in the pipeline's order."""
    from groot_ray.stages import STAGES

    there = {folder.name for folder in root.folders()}
    return [name for name in STAGES if name in there] + sorted(
        n for n in there - set(STAGES) if any(work_folders(root, n))
    )


def work_folders(root: Location, stage: str) -> Iterator[Location]:
    """Folders of a stage's results, finished or not."""
    for folder in (root / stage).folders():
        if next(iter((folder / ATTEMPTS).list(recursive=False)), None) is not None:
            yield folder


def newest_work(root: Location, stage: str) -> Location | None:
    """The folder of a stage in which an attempt was claimed last, or None before the first."""
    newest, at = None, -1.0
    for folder in work_folders(root, stage):
        claimed = max(
            (
                e.modified
                for e in (folder / ATTEMPTS).list(recursive=False)
                if e.relative.removesuffix(".json").isdigit()
            ),
            default=0.0,
        )
        if claimed > at:
            newest, at = folder, claimed
    return newest


def is_at_work(folder: Location) -> bool:
    """Whether an attempt in `folder` is running."""
    states = attempts(folder)
    return bool(states) and states[-1].alive


def check_workers(document: Document, stages: Iterable[str] | None = None) -> None:
    """Whether the training of a document, if `stages` (all when not given) have it, can run on a Ray cluster elsewhere.

    Raises:
        ConfigurationError: it trains inside the command's own process.
    """
    if document.experiment.training.workers[1] == 0 and (stages is None or "finetune" in stages):
        raise ConfigurationError(
            "training.num_workers: 0 trains inside the command's own process, without Ray pods; give 1 or more, or use groot-ray run"
        )
