"""Resolves what a command line names: an experiment file, a URI, a path, or an experiment's name in a storage."""

from __future__ import annotations

from groot_ray.errors import ConfigurationError
from groot_ray.experiment.document import load_document
from groot_ray.experiment.schema import DEFAULT_STORAGE
from groot_ray.experiment.stages import CONVERT, PARTS
from groot_ray.stages.catalog import current_folders, is_experiment, need_experiment, results
from groot_ray.stages.place import experiment_location
from groot_ray.storage import Location, open_location

EXPERIMENT_FILES = (".yaml", ".yml", ".json")
INFO = "meta/info.json"  # every dataset has this file


def find_folder(target: str, storage: str = DEFAULT_STORAGE, endpoint: str | None = None) -> Location:
    """The folder that `target` names: an experiment's, a storage's, or another one. It need not exist.

    Args:
        target: an experiment file (its experiment's folder in storage), a URI, a path, or the name of an experiment in
            `storage`.
        storage: folder or URI that holds experiments.
        endpoint: S3 endpoint for URIs and `storage`; an experiment file has its own.

    Raises:
        ConfigurationError: the experiment file or the URI is wrong.
    """
    if is_experiment_file(target):
        return experiment_location(load_document(target).experiment)
    given = open_location(target, endpoint)
    if "/" in target or target.startswith((".", "~")):
        return given
    named = open_location(storage, endpoint) / target
    return given if given.path.is_dir() and not is_experiment(named) else named


def is_experiment_file(target: str) -> bool:
    """Whether `target` names an experiment file, judged by its suffix."""
    return target.endswith(EXPERIMENT_FILES)


def find_experiment(target: str, storage: str = DEFAULT_STORAGE, endpoint: str | None = None) -> Location:
    """The folder of an experiment; see `find_folder`.

    Raises:
        ConfigurationError: there is no such experiment.
    """
    folder = find_folder(target, storage, endpoint)
    need_experiment(folder)
    return folder


def find_datasets(target: str, storage: str = DEFAULT_STORAGE, endpoint: str | None = None) -> list[Location]:
    """The converted datasets that `target` names: one dataset, or the parts of an experiment's newest conversion.

    Raises:
        ConfigurationError: an experiment has no finished conversion.
    """
    folder = find_folder(target, storage, endpoint)
    if (folder / INFO).exists():
        return [folder]
    if is_experiment(folder):
        converted = _newest_conversion(folder)
        if converted is None:
            raise ConfigurationError(
                f"{folder.uri} has no finished {CONVERT.name} stage; run `groot-ray {CONVERT.name}`"
            )
        folder = converted
    return [folder / part for part in PARTS if (folder / part / INFO).exists()] or [folder]


def _newest_conversion(experiment: Location) -> Location | None:
    """The result of `convert` that the newest run wrote or used, else the one written last."""
    current = current_folders(experiment).get(CONVERT.name)
    done = [result for result in results(experiment) if result.stage == CONVERT.name and result.manifests]
    done.sort(key=lambda result: (result.name == current, result.used))
    return done[-1].folder if done else None
