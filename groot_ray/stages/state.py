"""How far a stage is, from storage alone: what a waiting Job, `status` and `doctor` ask. Loads neither Ray nor torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from groot_ray.experiment.document import Document
from groot_ray.stages.base import NotReady
from groot_ray.stages.work import Work, stage_named
from groot_ray.storage import Location
from groot_ray.storage.lease import AttemptState, last_attempt
from groot_ray.storage.manifest import Manifest
from groot_ray.storage.status import read_status


@dataclass(frozen=True)
class StageState:
    """A stage as storage knows it.

    `folder` is None as long as it depends on what `waits_for` has yet to make. `ready`: all stages before it are done.
    """

    stage: str
    done: bool
    ready: bool
    waits_for: str | None
    key: str | None
    folder: Location | None
    manifest: Manifest | None = None
    attempt: AttemptState | None = None
    status: dict[str, Any] | None = None


def look(
    document: Document, name: str, *, pin: bool | None = None, refresh: bool = False, details: bool = False
) -> StageState:
    """Look at a stage of a document.

    Args:
        pin: pin source or base model where nobody has yet; when not given, for the first stage and for the base model of a stage whose
            inputs are there (so that Jobs that wait pin nothing).
        refresh: look at the source again, whatever is pinned.
        details: also read the last attempt and the status.

    Raises:
        GrootRayError: storage, source or base model cannot be read.
    """
    stage = stage_named(name)
    waits_for = _waits_for(document, name)
    may_pin = (not stage.after or waits_for is None) if pin is None else pin
    work = Work(document, refresh=refresh, may_pin=may_pin and (waits_for is None))
    try:
        place = work.place(name)
    except NotReady as missing:
        return StageState(name, False, False, waits_for or missing.waits_for, None, None)
    manifest = place.manifest()
    attempt = last_attempt(place.folder) if details else None
    status = read_status(place.folder) if details else None
    ready = waits_for is None
    return StageState(name, manifest is not None, ready, waits_for, place.name, place.folder, manifest, attempt, status)


def _waits_for(document: Document, name: str) -> str | None:
    """The first stage before this one that is not done."""
    work = Work(document, may_pin=False)
    for before in stage_named(name).after:
        earlier = _waits_for(document, before)
        if earlier is not None:
            return earlier
        try:
            if work.place(before).manifest() is None:
                return before
        except NotReady as missing:
            return missing.waits_for
    return None
