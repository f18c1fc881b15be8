"""State of a stage, read from storage alone, for waiting Jobs, `status` and `doctor`. Loads neither Ray nor torch."""

from __future__ import annotations

from dataclasses import dataclass

from groot_ray.experiment.document import Document
from groot_ray.stages.place import planning_folder
from groot_ray.stages.registry import open_work, stage_named
from groot_ray.stages.work import NotReady
from groot_ray.storage import Location
from groot_ray.storage.manifest import Manifest


@dataclass(frozen=True)
class StageState:
    """State of a stage, read from storage.

    Attributes:
        stage: its name.
        folder: where its attempts are: its own folder, or, while its key is unknown, `place.planning_folder`.
        key: name of its own folder; None while source or base model are not pinned.
        waits_for: the first predecessor that is not done; the stage itself if only its own pins are missing.
        manifest: the manifest of the finished stage, or None.
    """

    stage: str
    folder: Location
    key: str | None
    waits_for: str | None
    manifest: Manifest | None = None

    @property
    def done(self) -> bool:
        """Whether its manifest exists."""
        return self.manifest is not None

    @property
    def ready(self) -> bool:
        """Whether all its predecessors are done."""
        return self.waits_for in (None, self.stage)

    @property
    def pinned(self) -> bool:
        """Whether its key is known, so that `folder` is its own."""
        return self.key is not None


def inspect_stage(document: Document, name: str) -> StageState:
    """Inspect a stage of a document. Pins nothing: reading a complete source or base model is work for the Ray cluster.

    Raises:
        GrootRayError: storage cannot be read, or the document is wrong.
    """
    stage = stage_named(name)
    waits_for = _waits_for(document, name)
    try:
        place = open_work(document, may_pin=False).place(name)
    except NotReady as missing:
        folder = planning_folder(document.experiment, name)
        return StageState(stage.name, folder, None, waits_for or missing.waits_for)
    return StageState(stage.name, place.folder, place.name, waits_for, place.manifest())


def _waits_for(document: Document, name: str) -> str | None:
    """The first predecessor that is not done."""
    work = open_work(document, may_pin=False)
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
