"""A stage: its declaration, a key, and a function that fills a folder.

`runner` adds lease, manifest, status and logs; of these, a stage sees only `Context.check`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from groot_ray.errors import ConfigurationError
from groot_ray.experiment.schema import result_options
from groot_ray.experiment.stages import StageDeclaration
from groot_ray.progress import Listener
from groot_ray.stages.place import Place
from groot_ray.stages.work import Work
from groot_ray.storage import Location
from groot_ray.storage.lease import Attempt, Lease
from groot_ray.storage.manifest import MANIFEST, FileRecord, Manifest


@dataclass(frozen=True)
class Made:
    """What a stage has written.

    Attributes:
        summary: goes into the manifest.
        files: the files that the manifest lists.
        sentence: one sentence for the user.
        provenance: facts that inputs and options do not determine, such as addresses.
    """

    summary: dict[str, Any]
    files: list[FileRecord]
    sentence: str
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """Arguments of a stage's function: the work, the folder to fill, the attempt, and progress listeners."""

    work: Work
    output: Location
    attempt: Attempt
    listeners: list[Listener]
    force: bool = False

    def check(self) -> None:
        """Check the lease; call this before each commit of work that can stop at any time.

        Raises:
            TemporaryFailureError: another attempt has taken over.
            StoppedError: a stop was requested.
        """
        self.attempt.stoppable.check()


@dataclass(frozen=True)
class Result:
    """A finished result that is repaired: where it is, its manifest, and the lease that protects it."""

    work: Work
    folder: Location
    manifest: Manifest
    lease: Lease


class Stage(ABC):
    """The code of one stage. Subclasses are stateless; a module `stages.<name>` holds one as `STAGE`."""

    declaration: StageDeclaration

    @property
    def name(self) -> str:
        """Name of the stage."""
        return self.declaration.name

    @property
    def after(self) -> tuple[str, ...]:
        """Stages that must be done first."""
        return self.declaration.after

    @abstractmethod
    def key(self, work: Work) -> str:
        """The key of the result that a document asks for: a function of pins, options and earlier stages' results.

        Raises:
            NotReady: the key depends on a stage that is not done.
        """

    def inputs(self, work: Work) -> dict[str, Any]:
        """The declared inputs of the result, for the manifest."""
        return {name: self.input(work, name) for name in self.declaration.inputs}

    def input(self, work: Work, name: str) -> Any:
        """The value of a declared input; a stage with inputs of its own overrides this."""
        return work.input(name)

    def options(self, work: Work) -> dict[str, Any]:
        """The options that enter the key, for the manifest: the result options of the declared sections."""
        return {name: result_options(getattr(work.experiment, name)) for name in self.declaration.sections}

    @abstractmethod
    def run(self, context: Context) -> Made:
        """Write the result to `context.output`, continuing from what an earlier attempt left there."""

    @abstractmethod
    def run_plain(self, context: Context) -> Made:
        """Write the result to a folder that the user chose, without a key."""

    def rebuild(self, result: Result, paths: Collection[str], folder: Path) -> Iterator[str]:
        """Write files of a finished result again, below the local `folder`; yields each path once it is written.

        The caller compares a file before it asks for the next one, and puts nothing in place before all are equal.
        """
        raise ConfigurationError(f"files of {self.name} cannot be rebuilt; run it with --force to write a new result")

    def files_of(self, result: Result) -> list[FileRecord]:
        """The files of a finished result as they are, or as its records outside the list of files say."""
        return []

    def check_inputs(self, work: Work) -> None:  # noqa: B027
        """Raise an error for wrong inputs before anything is written to a plain folder."""

    def proof(self, work: Work) -> str:
        """Name of the manifest that proves the stage done."""
        return MANIFEST

    def fits(self, work: Work, place: Place) -> bool:
        """Whether a generation, finished or not, can serve the document; if not, a new one is opened."""
        return True

    def describe(self, place: Place, manifest: Manifest) -> str:
        """Where to look in a finished result, for the last line of a run."""
        return place.folder.uri
