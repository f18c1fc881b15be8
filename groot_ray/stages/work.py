"""The work on one document: its storage, its pins, and where each stage's result is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from groot_ray.experiment.document import Document
from groot_ray.experiment.plan import ModelPin, SourcePin, model_request, source_request
from groot_ray.experiment.schema import Experiment
from groot_ray.experiment.stages import pinned_by
from groot_ray.stages.pin import newest, pin_model, pin_source
from groot_ray.stages.place import Place, experiment_location, generations
from groot_ray.storage.manifest import generation_name

if TYPE_CHECKING:
    from groot_ray.embodiment.schema import Embodiment


class NotReady(Exception):
    """The key of a stage is not known before the stage `waits_for` is done."""

    def __init__(self, waits_for: str) -> None:
        super().__init__(waits_for)
        self.waits_for = waits_for


class Keyed(Protocol):
    """The methods of `base.Stage` that determine where a result is; see there."""

    @property
    def name(self) -> str: ...

    def key(self, work: Work) -> str: ...

    def proof(self, work: Work) -> str: ...

    def fits(self, work: Work, place: Place) -> bool: ...


class Work:
    """A document with its pins and places, which are looked up once and kept for the life of the object."""

    def __init__(
        self, document: Document, stages: Mapping[str, Keyed], *, refresh: bool = False, may_pin: bool = True
    ) -> None:
        """Create the object; reads nothing yet.

        Args:
            stages: the stages by name (`registry.STAGES`).
            refresh: read source and base model again, even if they are pinned.
            may_pin: pin a source or base model that is not pinned yet; otherwise it raises `NotReady`.
        """
        self.document = document
        self.stages = stages
        self.root = experiment_location(document.experiment)
        self.refresh = refresh
        self.may_pin = may_pin
        self._places: dict[str, Place] = {}

    @property
    def experiment(self) -> Experiment:
        """The experiment of the document."""
        return self.document.experiment

    @cached_property
    def source(self) -> SourcePin:
        """The pinned source; pins it now if it is not pinned or `refresh` is set."""
        if not self.may_pin:
            pinned, _ = newest(self.root, f"source-{source_request(self.experiment)}", SourcePin)
            if pinned is None:
                raise NotReady(pinned_by("source"))
            return pinned
        return pin_source(self.root, self.experiment, refresh=self.refresh)

    @cached_property
    def model(self) -> ModelPin:
        """The pinned base model."""
        if not self.may_pin and self.experiment.model.base is not None:
            pinned, _ = newest(self.root, f"model-{model_request(self.experiment)}", ModelPin)
            if pinned is None:
                raise NotReady(pinned_by("model"))
            return pinned
        return pin_model(self.root, self.experiment, refresh=self.refresh)

    @cached_property
    def embodiment(self) -> Embodiment:
        """The resolved description of the robot."""
        from groot_ray.embodiment import load_embodiment

        return load_embodiment(self.experiment.embodiment, self.experiment.embodiment_tag)

    @cached_property
    def robot(self) -> dict[str, Any]:
        """The description of the robot as plain data, as it enters keys."""
        return self.embodiment.to_json()

    def input(self, name: str) -> str | None:
        """An input as manifests name it: the content of a pin, or the folder name of an earlier stage's result."""
        if name == "source":
            return self.source.content
        if name == "model":
            return self.model.content
        return self.place(name).name

    def place(self, name: str, *, new: bool = False) -> Place:
        """Where the result of a stage is or will be.

        The newest generation that fits the document, else a new one. `new` opens a generation if the newest is
        finished.

        Raises:
            NotReady: the key depends on a stage that is not done.
        """
        if name not in self._places or new:
            self._places[name] = self._find(self.stages[name], new)
        return self._places[name]

    def _find(self, stage: Keyed, new: bool) -> Place:
        key = stage.key(self)
        proof = stage.proof(self)
        above = self.root / stage.name
        opened = generations(above, key)

        def place(number: int) -> Place:
            return Place(stage.name, key, number, above / generation_name(key, number), proof)

        if new:
            last = opened[-1] if opened else 0
            unfinished = last > 0 and stage.fits(self, place(last)) and place(last).manifest() is None
            return place(last if unfinished else last + 1)
        for number in reversed(opened):
            if stage.fits(self, place(number)):
                return place(number)
        return place(opened[-1] + 1 if opened else 1)
