"""The work on one document: its storage, its pins, and the place of each stage's result."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from groot_ray.experiment.document import Document
from groot_ray.experiment.plan import ModelPin, SourcePin, model_request, source_request
from groot_ray.experiment.schema import Experiment
from groot_ray.stages.base import NotReady, Stage
from groot_ray.stages.pin import newest, pin_model, pin_source
from groot_ray.stages.sources import storage_root
from groot_ray.storage import Location
from groot_ray.storage.manifest import Manifest, generation_name, read_manifest

if TYPE_CHECKING:
    from groot_ray.embodiment.schema import Embodiment


@dataclass(frozen=True)
class Place:
    """Where the result of a stage is, or will be: `<experiment>/<stage>/<key>` (`.2` and so on for later generations)."""

    stage: str
    key: str
    generation: int
    folder: Location
    proof: str

    @property
    def name(self) -> str:
        """Name of the folder: what later stages put into their keys."""
        return self.folder.name

    def manifest(self) -> Manifest | None:
        """The proof that the stage is done, or None."""
        return read_manifest(self.folder, self.proof)


class Work:
    """A document, and what follows from it. Pins and places are looked up once and then stay for the life of the object."""

    def __init__(self, document: Document, *, refresh: bool = False, may_pin: bool = True) -> None:
        """`refresh`: look at source and model again, whatever is pinned. Without `may_pin` what is not pinned raises `NotReady`."""
        self.document = document
        self.root = storage_root(document.experiment)
        self.refresh = refresh
        self.may_pin = may_pin
        self._places: dict[str, Place] = {}

    @property
    def experiment(self) -> Experiment:
        """What is computed."""
        return self.document.experiment

    @cached_property
    def source(self) -> SourcePin:
        """The pinned source; pinned now where nobody has yet, or anew where `refresh` is set."""
        if not self.may_pin:
            name = f"source-{source_request(self.experiment)}"
            pinned, _ = newest(self.root, name, SourcePin)
            if pinned is None:
                raise NotReady("download")
            return pinned
        return pin_source(self.root, self.experiment, refresh=self.refresh)

    @cached_property
    def model(self) -> ModelPin:
        """The pinned base model."""
        if not self.may_pin and self.experiment.model.base is not None:
            pinned, _ = newest(self.root, f"model-{model_request(self.experiment)}", ModelPin)
            if pinned is None:
                raise NotReady("finetune")
            return pinned
        return pin_model(self.root, self.experiment, refresh=self.refresh)

    @cached_property
    def embodiment(self) -> Embodiment:
        """The resolved description of the robot."""
        from groot_ray.embodiment import load_embodiment

        return load_embodiment(self.experiment.embodiment, self.experiment.embodiment_tag)

    @cached_property
    def robot(self) -> dict[str, Any]:
        """The description as plain data, as it enters keys."""
        return self.embodiment.to_json()

    def place(self, name: str, *, anew: bool = False) -> Place:
        """Where the result of a stage is or will be.

        The newest generation that was opened and can lead to what is asked for, else a new one. `anew` opens a new one where the
        newest is finished.

        Raises:
            NotReady: the place depends on what an earlier stage has yet to make.
        """
        if name not in self._places or anew:
            self._places[name] = self._find(stage_named(name), anew)
        return self._places[name]

    def _find(self, stage: Stage, anew: bool) -> Place:
        key = stage.key(self)
        proof = stage.proof(self)
        above = self.root / stage.name
        opened = generations(above, key)

        def place(number: int) -> Place:
            return Place(stage.name, key, number, above / generation_name(key, number), proof)

        if anew:
            last = opened[-1] if opened else 0
            unfinished = last > 0 and stage.suits(self, place(last)) and place(last).manifest() is None
            return place(last if unfinished else last + 1)
        for number in reversed(opened):
            if stage.suits(self, place(number)):
                return place(number)
        return place(opened[-1] + 1 if opened else 1)


def generations(above: Location, key: str) -> list[int]:
    """The generations of a key that were opened, in order."""
    found = []
    for folder in above.folders():
        stem, _, number = folder.name.partition(".")
        if stem == key and (number.isdigit() or not number):
            found.append(int(number or 1))
    return sorted(found)


def stage_named(name: str) -> Stage:
    """The stage of a name; raises `ConfigurationError` for one that there is not."""
    from groot_ray.errors import ConfigurationError, did_you_mean
    from groot_ray.stages import STAGES

    if name not in STAGES:
        raise ConfigurationError(
            f"there is no stage {name!r}{did_you_mean(name, STAGES)}; the stages are {', '.join(STAGES)}"
        )
    return STAGES[name]
