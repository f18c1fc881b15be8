"""What a stage is: a name, what comes before it, a key, and a function that makes its result in a folder.

Leases, manifests, status, logs and skipping are put around it by `runner`; a stage knows nothing of them but `Context.check`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from groot_ray.progress import Listener
from groot_ray.storage import Location
from groot_ray.storage.manifest import MANIFEST, FileRecord, Manifest

if TYPE_CHECKING:
    from groot_ray.stages.work import Place, Work
    from groot_ray.storage.lease import Attempt


@dataclass(frozen=True)
class Made:
    """What a stage has made: `summary` goes into the manifest, `files` are what it vouches for, `sentence` is for people.

    `provenance` holds what does not follow from inputs and options (addresses, durations).
    """

    summary: dict[str, Any]
    files: list[FileRecord]
    sentence: str
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What a stage's function gets: the work it belongs to, the folder to fill, its attempt, and who follows its progress."""

    work: Work
    output: Location
    attempt: Attempt
    listeners: list[Listener]
    force: bool = False

    def check(self) -> None:
        """To be called before each commit of work that can be left at any time.

        Raises:
            TemporaryFailureError: another attempt has taken over.
            StoppedError: a person asked for the end.
        """
        self.attempt.stoppable.check()


class Stage(ABC):
    """One step of the pipeline. Subclasses are stateless; `stages.STAGES` lists them in their order."""

    name: str
    after: tuple[str, ...] = ()

    @abstractmethod
    def key(self, work: Work) -> str:
        """The key of the result that a document asks for; a function of the pins, the document and the places of earlier stages.

        Raises `NotReady` when it depends on what an earlier stage has yet to make.
        """

    @abstractmethod
    def inputs(self, work: Work) -> dict[str, Any]:
        """What the result is made from, for the manifest."""

    @abstractmethod
    def options(self, work: Work) -> dict[str, Any]:
        """The options that entered the key, for the manifest and for saying what has changed."""

    @abstractmethod
    def run(self, context: Context) -> Made:
        """Make the result in `context.output`, or go on with what an attempt before has left there."""

    def look(self, work: Work) -> None:
        """Raise for what is wrong with the inputs, before anything is written to a plain folder."""
        return

    @abstractmethod
    def run_plain(self, context: Context) -> Made:
        """Make the result in a plain folder that the user named, without keys."""

    def proof(self, work: Work) -> str:
        """Name of the manifest whose presence proves that the stage is done."""
        return MANIFEST

    def suits(self, work: Work, place: Place) -> bool:
        """Whether an unfinished or finished generation can lead to what the document asks for; else a new one is opened."""
        return True

    def describe(self, place: Place, manifest: Manifest) -> str:
        """One sentence about a finished result, for the end of a run."""
        return place.folder.uri


class NotReady(Exception):
    """The key of a stage is not known before the stage `waits_for` is done."""

    def __init__(self, waits_for: str) -> None:
        super().__init__(waits_for)
        self.waits_for = waits_for
