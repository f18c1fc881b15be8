"""Runs stages: skips finished ones, claims an attempt, does the work, commits.

An unfinished stage is claimed first, so that two runs of one experiment never write at the same time: the second
waits and then finds the work done.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from groot_ray.errors import PredecessorFailedError
from groot_ray.experiment.agreement import check_agreement, stages_to_run
from groot_ray.experiment.document import Document
from groot_ray.experiment.stages import PINS
from groot_ray.progress import format_duration
from groot_ray.stages.base import Stage
from groot_ray.stages.follow import followed
from groot_ray.stages.place import Place
from groot_ray.stages.record import commit, point_at, reason, write_provenance
from groot_ray.stages.registry import STAGES, open_work, stage_named
from groot_ray.stages.work import NotReady, Work
from groot_ray.storage import Location, check_storage, open_location
from groot_ray.storage.lease import Attempt, adopt_attempt, claim_attempt
from groot_ray.storage.manifest import Manifest

log = logging.getLogger(__name__)

PLAIN = ".groot-ray"  # where a plain output folder keeps its attempts


@dataclass(frozen=True)
class Outcome:
    """Outcome of a stage: run or skipped, where the result is, and a sentence for the user."""

    stage: str
    state: Literal["done", "skipped"]
    folder: Location
    manifest: Manifest | None
    sentence: str


@dataclass(frozen=True)
class StageRun:
    """One stage to run, with all choices made beforehand.

    Attributes:
        force: run again into a new generation (in a plain `output`: replace what is there).
        wait: wait for another running attempt instead of raising `TemporaryFailureError`.
        attempt: number and owner of an attempt that another process claimed for this one.
    """

    work: Work
    stage: Stage
    force: bool = False
    wait: bool = True
    attempt: tuple[int, str] | None = None


def run_all(document: Document, only: Sequence[str] | None = None, force: bool = False) -> list[Outcome]:
    """Run the stages of a document in their order, or `only` some; finished ones are skipped unless `force` is set.

    Storage, source, base model and embodiment are checked first, so that mistakes are reported before any work.

    Raises:
        GrootRayError: a stage failed; its exit code says whether to try again.
    """
    chosen = set(STAGES) if only is None else {stage_named(name).name for name in only}
    stages = [stage for name, stage in STAGES.items() if name in chosen]
    first = next(iter(STAGES))
    work = open_work(document, refresh=first in chosen)
    check_storage(work.root)
    for doubt in check_agreement(work.experiment, work.embodiment, [stage.name for stage in stages]):
        log.warning("%s", doubt)
    for pin in PINS:
        if any(pin in _declared_inputs(stage) for stage in stages):
            work.input(pin)
    return [run(StageRun(work, stage, force)) for stage in stages]


def _declared_inputs(stage: Stage) -> set[str]:
    """Inputs of a stage and its predecessors."""
    return set(stage.declaration.inputs).union(*(_declared_inputs(stage_named(name)) for name in stage.after))


def run_stage(
    document: Document,
    name: str,
    *,
    force: bool = False,
    output: str | Location | None = None,
    wait: bool = True,
    attempt: tuple[int, str] | None = None,
) -> Outcome:
    """Run one stage of a document; see `StageRun` for the options.

    Raises:
        GrootRayError: the stage failed, a stage before it is not done, or storage, source or document are wrong.
    """
    stage = stage_named(name)
    work = open_work(document, refresh=not stage.after and attempt is None)
    if output is not None:
        storage = document.experiment.storage
        return run_plain(StageRun(work, stage, force, wait), open_location(output, storage.endpoint, storage.region))
    check_storage(work.root)
    if document.cluster is not None:  # in a release, later stages will run too
        check_agreement(work.experiment, work.embodiment, stages_to_run(document))
    return run(StageRun(work, stage, force, wait, attempt))


def summary(outcomes: Sequence[Outcome]) -> str:
    """One line per stage: its outcome and where the result is."""
    width = max((len(outcome.stage) for outcome in outcomes), default=0)
    return "\n".join(f"{outcome.stage:<{width}}  {outcome.sentence}" for outcome in outcomes)


def run(task: StageRun) -> Outcome:
    """Run a stage in the experiment's storage."""
    work, stage = task.work, task.stage
    _need_inputs(work, stage)
    place = work.place(stage.name, new=task.force)
    standing = place.manifest()
    if standing is not None:
        return _skip(stage, place, standing)
    attempt = _claim(task, place)
    if attempt is None:
        standing = place.manifest()
        assert standing is not None
        return _skip(stage, place, standing)
    about: dict[str, object] = {"key": place.key, "generation": place.generation}
    with followed(work, stage.name, place.folder, attempt, force=task.force, about=about) as context:
        begun = time.time()
        if attempt.number > 1:
            log.info("%s: continuing %s (attempt %d)", stage.name, place.folder.uri, attempt.number)
        else:
            log.info("%s: making %s%s", stage.name, place.folder.uri, reason(work, stage, place))
        made = stage.run(context)
        manifest = commit(work, stage, place, attempt, made)
        write_provenance(work, place, attempt, made, begun)
        sentence = f"{made.sentence} ({format_duration(time.time() - begun)}): {stage.describe(place, manifest)}"
        log.info("%s: %s", stage.name, sentence)
    point_at(work, place)
    return Outcome(stage.name, "done", place.folder, manifest, sentence)


def _claim(task: StageRun, place: Place) -> Attempt | None:
    """Adopt or claim an attempt at a stage; None if another attempt has finished the stage meanwhile."""
    if task.attempt is not None:
        return adopt_attempt(place.folder, *task.attempt)
    return claim_attempt(place.folder, wait=task.wait, until=lambda: place.manifest() is not None)


def run_plain(task: StageRun, output: Location) -> Outcome:
    """Run a stage into a folder that the user chose: with a lease, but without key and manifest."""
    work, stage = task.work, task.stage
    stage.check_inputs(work)
    check_storage(output)
    _need_inputs(work, stage, plain=True)
    attempt = claim_attempt(output / PLAIN / stage.name, wait=task.wait)
    assert attempt is not None
    with followed(work, stage.name, output, attempt, force=task.force) as context:
        made = stage.run_plain(context)
    log.info("%s: %s: %s", stage.name, made.sentence, output.uri)
    return Outcome(stage.name, "done", output, None, f"{made.sentence}: {output.uri}")


def _need_inputs(work: Work, stage: Stage, plain: bool = False) -> None:
    """Raise if a predecessor of this stage is not done; the first stage of the pipeline has none."""
    for before in map(stage_named, stage.after):
        if not before.after:
            if not plain and work.place(before.name).manifest() is None:
                run(StageRun(work, before))
            continue
        try:
            done = work.place(before.name).manifest() is not None
        except NotReady:
            done = False
        if not done:
            raise PredecessorFailedError(
                f"{stage.name} needs the result of {before.name}, which does not exist for these options; run "
                f"`groot-ray {before.name}` with the same experiment first, or `groot-ray run` for all stages"
            )


def _skip(stage: Stage, place: Place, manifest: Manifest) -> Outcome:
    sentence = f"already done (key {place.name}), skipped: {stage.describe(place, manifest)}"
    log.info("%s: %s", stage.name, sentence)
    return Outcome(stage.name, "skipped", place.folder, manifest, sentence)
