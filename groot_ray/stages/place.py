"""Where an experiment and the results of its stages are in storage."""

from __future__ import annotations

from dataclasses import dataclass

from groot_ray.experiment.schema import Experiment
from groot_ray.storage import Location, open_location
from groot_ray.storage.manifest import Manifest, read_manifest

PLAN = "plan"  # folder of an experiment's pins


@dataclass(frozen=True)
class Place:
    """Where a stage's result is, or will be: `<experiment>/<stage>/<key>`; later generations are `<key>.2` and so on.

    `proof` is the name of the manifest that proves the stage done.
    """

    stage: str
    key: str
    generation: int
    folder: Location
    proof: str

    @property
    def name(self) -> str:
        """Name of the folder, which enters the keys of later stages."""
        return self.folder.name

    def manifest(self) -> Manifest | None:
        """The manifest of the finished stage, or None."""
        return read_manifest(self.folder, self.proof)


def experiment_location(experiment: Experiment) -> Location:
    """The folder of an experiment in its storage."""
    storage = experiment.storage
    return open_location(storage.uri, storage.endpoint, storage.region) / experiment.name


def planning_folder(experiment: Experiment, stage: str) -> Location:
    """Where a stage's attempts are kept while its key is unknown because source or base model are not pinned yet."""
    return experiment_location(experiment) / PLAN / f"{stage}-job"


def generations(above: Location, key: str) -> list[int]:
    """The generations of a key that have a folder in `above`, in order."""
    found = []
    for folder in above.folders():
        stem, _, number = folder.name.partition(".")
        if stem == key and (number.isdigit() or not number):
            found.append(int(number or 1))
    return sorted(found)
