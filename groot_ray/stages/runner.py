"""Running stages: recognize what is done, claim an attempt, make the rest, commit.

A stage that is done is skipped with a line that says where its result is. One that is not is claimed, so that two runs of the same
experiment never write side by side: the second waits, and then finds the work done.
"""

from __future__ import annotations

import logging
import platform
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal

from groot_ray import __version__
from groot_ray.errors import PredecessorFailedError, StoppedError, TemporaryFailureError
from groot_ray.experiment.agreement import check_agreement, stages_to_run
from groot_ray.experiment.document import Document
from groot_ray.progress import format_duration
from groot_ray.stages.base import Context, Made, NotReady, Stage
from groot_ray.stages.work import Place, Work, stage_named
from groot_ray.storage import Location, NotFoundError, check_storage, open_location
from groot_ray.storage.lease import Attempt, adopt_attempt, claim_attempt, outcome_of, this_process
from groot_ray.storage.logs import LogShipper, log_folder
from groot_ray.storage.manifest import Manifest, commit_manifest, read_manifest, write_files
from groot_ray.storage.status import StatusWriter

log = logging.getLogger(__name__)

PLAIN = ".groot-ray"  # where a plain output folder keeps its attempts
CURRENT = "current.json"


@dataclass(frozen=True)
class Outcome:
    """What came of a stage: made now, or skipped because it was made before; where it is, and a sentence for people."""

    stage: str
    state: Literal["done", "skipped"]
    folder: Location
    manifest: Manifest | None
    sentence: str


def run_all(document: Document, only: Sequence[str] | None = None, force: bool = False) -> list[Outcome]:
    """Run the stages of a document in their order, or `only` some; finished ones are skipped, `force` makes them anew.

    Storage, source, base model and embodiment are looked at first, so that a mistake is told before any work.

    Raises:
        GrootRayError: a stage failed; its exit code says whether trying again may help.
    """
    from groot_ray.stages import STAGES

    names = [name for name in STAGES if only is None or name in [stage_named(chosen).name for chosen in only]]
    work = Work(document, refresh="download" in names)
    check_storage(work.root)
    for doubt in check_agreement(work.experiment, work.embodiment, names):
        log.warning("%s", doubt)
    if {"download", "convert"} & set(names):
        _ = work.source
    if "finetune" in names:
        _ = work.model
    return [_run(work, stage_named(name), force=force) for name in names]


def run_stage(
    document: Document,
    name: str,
    *,
    force: bool = False,
    output: str | Location | None = None,
    wait: bool = True,
    attempt: tuple[int, str] | None = None,
) -> Outcome:
    """Run one stage of a document.

    Args:
        force: make it anew, beside what exists (in a plain `output`: in place of it).
        output: a plain folder or URI that receives the result, instead of the experiment's storage.
        wait: wait for another attempt that is at work on the stage, instead of raising `TemporaryFailureError`.
        attempt: number and owner of an attempt that another process has claimed for this one.

    Raises:
        GrootRayError: the stage failed, a stage before it is not done, or storage, source or document are wrong.
    """
    stage = stage_named(name)
    work = Work(document, refresh=name == "download" and attempt is None)
    if output is not None:
        options = document.experiment.storage
        return _run_plain(work, stage, open_location(output, options.endpoint, options.region), force, wait)
    check_storage(work.root)
    if document.cluster is not None:  # a stage of a release: the stages after it are sure to be run
        check_agreement(work.experiment, work.embodiment, stages_to_run(document))
    return _run(work, stage, force=force, wait=wait, adopted=attempt)


def summary(outcomes: Sequence[Outcome]) -> str:
    """One line for each stage: what came of it and where it is."""
    width = max((len(outcome.stage) for outcome in outcomes), default=0)
    return "\n".join(f"{outcome.stage:<{width}}  {outcome.sentence}" for outcome in outcomes)


def _run(
    work: Work, stage: Stage, *, force: bool = False, wait: bool = True, adopted: tuple[int, str] | None = None
) -> Outcome:
    """A stage in the experiment's storage."""
    _need_inputs(work, stage)
    place = work.place(stage.name, anew=force)
    standing = place.manifest()
    if standing is not None:
        return _skip(stage, place, standing)
    if adopted is not None:
        attempt: Attempt | None = adopt_attempt(place.folder, *adopted)
    else:
        attempt = claim_attempt(place.folder, wait=wait, until=lambda: place.manifest() is not None)
    if attempt is None:
        standing = place.manifest()
        assert standing is not None
        return _skip(stage, place, standing)
    about = {"stage": stage.name, "key": place.key, "generation": place.generation}
    with _followed(attempt, place.folder, about) as context_of:
        begun = time.time()
        _say_why(work, stage, place, attempt)
        made = stage.run(context_of(work, place.folder, force))
        manifest = _commit(work, stage, place, attempt, made)
        _provenance(work, place, attempt, made, begun)
        sentence = f"{made.sentence} ({format_duration(time.time() - begun)}): {stage.describe(place, manifest)}"
        log.info("%s: %s", stage.name, sentence)
    _point_at(work, place)
    return Outcome(stage.name, "done", place.folder, manifest, sentence)


def _run_plain(work: Work, stage: Stage, output: Location, force: bool, wait: bool) -> Outcome:
    """A stage into a folder that the user named: under a lease as well, but without keys and manifest."""
    stage.look(work)
    check_storage(output)
    _need_inputs(work, stage, plain=True)
    attempt = claim_attempt(output / PLAIN / stage.name, wait=wait)
    assert attempt is not None
    with _followed(attempt, output / PLAIN / stage.name, {"stage": stage.name}) as context_of:
        made = stage.run_plain(context_of(work, output, force))
    log.info("%s: %s: %s", stage.name, made.sentence, output.uri)
    return Outcome(stage.name, "done", output, None, f"{made.sentence}: {output.uri}")


def _need_inputs(work: Work, stage: Stage, plain: bool = False) -> None:
    """Raise for a stage before this one that is not done; a source that only has to be pinned or fetched is seen to."""
    for name in stage.after:
        if name == "download":
            if not plain and work.place(name).manifest() is None:
                _run(work, stage_named(name))
            continue
        try:
            done = work.place(name).manifest() is not None
        except NotReady:
            done = False
        if not done:
            raise PredecessorFailedError(
                f"{stage.name} needs the result of {name}, which is not there for these options; run `groot-ray {name}` with the same "
                "experiment first, or `groot-ray run` for all stages"
            )


def _skip(stage: Stage, place: Place, manifest: Manifest) -> Outcome:
    sentence = f"done before (key {place.name}), skipped: {stage.describe(place, manifest)}"
    log.info("%s: %s", stage.name, sentence)
    return Outcome(stage.name, "skipped", place.folder, manifest, sentence)


def _say_why(work: Work, stage: Stage, place: Place, attempt: Attempt) -> None:
    """Tell what is about to be made, and what it differs in from the result before."""
    if attempt.number > 1:
        log.info("%s: going on with %s (attempt %d)", stage.name, place.folder.uri, attempt.number)
        return
    before = _previous(work, stage.name)
    if before is None:
        why = ""
    elif before.key == place.key:
        why = ", anew" if place.generation != before.generation else ""
    else:
        new = {"inputs": stage.inputs(work), "options": stage.options(work)}
        changed = differences({"inputs": before.inputs, "options": before.options}, new)
        why = f", because {', '.join(changed[:4])} changed" if changed else ""
    log.info("%s: making %s%s", stage.name, place.folder.uri, why)


def differences(before: Any, after: Any, prefix: str = "") -> list[str]:
    """Dotted names of what differs between two pieces of JSON data."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = [*before, *(name for name in after if name not in before)]
        nothing = object()
        return [
            found
            for name in names
            for found in differences(
                before.get(name, nothing), after.get(name, nothing), f"{prefix}.{name}" if prefix else name
            )
        ]
    return [] if before == after else [prefix.removeprefix("options.").removeprefix("inputs.")]


def _commit(work: Work, stage: Stage, place: Place, attempt: Attempt, made: Made) -> Manifest:
    attempt.check()
    files_hash = write_files(place.folder, made.files, place.proof)
    manifest = Manifest(
        stage=stage.name,
        key=place.key,
        generation=place.generation,
        version=__version__,
        made=made.summary,
        inputs=stage.inputs(work),
        options=stage.options(work),
        files=len(made.files),
        size=sum(file.size for file in made.files),
        files_hash=files_hash,
    )
    attempt.check()
    commit_manifest(place.folder, manifest, place.proof)
    return manifest


def _provenance(work: Work, place: Place, attempt: Attempt, made: Made, begun: float) -> None:
    """What does not follow from inputs and options: when, where, how long, by what."""
    facts = {
        "attempt": attempt.number,
        "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begun)),
        "seconds": round(time.time() - begun, 1),
        "process": this_process(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": _versions(),
        **made.provenance,
        "experiment": work.experiment.model_dump(mode="json"),
    }
    (place.folder / "provenance.json").write_json(facts)


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"groot-ray": __version__}
    for name in ("ray", "torch", "transformers", "numpy", "pyarrow", "av"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _point_at(work: Work, place: Place) -> None:
    """`current.json`: a hint for people where the newest results are; no stage decides by it."""
    current = _current(work)
    current[place.stage] = {"folder": f"{place.stage}/{place.name}", "proof": place.proof}
    (work.root / CURRENT).write_json(current)


def _current(work: Work) -> dict[str, Any]:
    try:
        found = (work.root / CURRENT).read_json()
    except NotFoundError:
        return {}
    return found if isinstance(found, dict) else {}


def _previous(work: Work, name: str) -> Manifest | None:
    hint = _current(work).get(name)
    return read_manifest(work.root / hint["folder"], hint["proof"]) if hint else None


@contextmanager
def _followed(attempt: Attempt, folder: Location, about: dict[str, Any]) -> Iterator[Any]:
    """Run a block under an attempt: heartbeat, status, logs, and the end written down whatever it is."""
    about = {**about, "attempt": attempt.number}
    with (
        attempt,
        LogShipper(log_folder(folder, attempt.number)),
        StatusWriter(folder, about) as status,
        _terminable(),
    ):
        try:
            yield lambda work, output, force: Context(work, output, attempt, [status], force)
        except BaseException as error:
            code, sentence = outcome_of(error)
            log.error("%s: attempt %d failed: %s", about["stage"], attempt.number, sentence)
            status.finish("stopped" if code == StoppedError.exit_code else "failed", sentence)
            raise
        status.finish("done")


@contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM into an error while the block runs, so that the attempt's end is written down and the next may begin at once."""

    def raise_it(number: int, frame: FrameType | None) -> None:
        raise TemporaryFailureError("this process was told to end (SIGTERM); run it again to go on")

    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, raise_it)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is raise_it:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
