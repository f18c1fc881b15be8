"""Pins a document's source and base model: writes their present state to storage, where later stages read it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from groot_ray import hub
from groot_ray.errors import ConfigurationError, DataError, ServiceUnavailableError
from groot_ray.experiment.keys import digest
from groot_ray.experiment.plan import ModelPin, SourcePin, listing_digest, model_request, source_request
from groot_ray.experiment.schema import Experiment
from groot_ray.stages.fingerprints import Fingerprinted, fingerprint, read_listing, write_listing
from groot_ray.stages.hub_files import fetch
from groot_ray.stages.place import PLAN
from groot_ray.stages.sources import Source, source_of
from groot_ray.storage import Location, open_location
from groot_ray.storage.manifest import FileRecord, generation_name

if TYPE_CHECKING:
    from groot_ray.dataset.source.recording import Recording

log = logging.getLogger(__name__)

P = TypeVar("P", SourcePin, ModelPin)


def pin_source(root: Location, experiment: Experiment, *, refresh: bool) -> SourcePin:
    """Return the newest pin of a document's source; pins it now if there is none or `refresh` is set.

    Raises:
        ConfigurationError: the source does not exist, or the splits ask for more episodes than it has.
        DataError: the source is not a dataset that can be read.
        ServiceUnavailableError: the source cannot be reached and was never pinned.
    """
    name = f"source-{source_request(experiment)}"
    return _pinned(
        root, name, SourcePin, refresh, lambda latest: inspect_source(root, experiment, source_of(experiment), latest)
    )


def pin_model(root: Location, experiment: Experiment, *, refresh: bool) -> ModelPin:
    """Return the newest pin of a document's base model; see `pin_source`."""
    if experiment.model.base is None:
        return ModelPin(base=None, content=None)
    name = f"model-{model_request(experiment)}"
    return _pinned(root, name, ModelPin, refresh, lambda latest: inspect_model(root, experiment, name))


def _pinned(root: Location, name: str, kind: type[P], refresh: bool, inspect: Callable[[P | None], P]) -> P:
    """The newest pin of a name, or what `inspect` finds now; if that is unreachable, an existing pin stays."""
    latest, _ = newest(root, name, kind)
    if latest is not None and not refresh:
        return latest
    try:
        found = inspect(latest)
    except (ServiceUnavailableError, hub.OfflineError) as error:
        if latest is None:
            raise
        pinned = latest.revision or (latest.content or "")[:12]
        log.warning("%s; continuing with the existing pin (%s)", error, pinned)
        return latest
    return write_pin(root, name, found)


def newest(root: Location, name: str, kind: type[P]) -> tuple[P | None, int]:
    """The newest generation of a pin, and its number (0 if there is no pin)."""
    numbers = [0]
    for entry in (root / PLAN).list(recursive=False):
        stem, generation = entry.relative.removesuffix(".json"), 1
        if "." in stem:
            stem, _, text = stem.rpartition(".")
            generation = int(text) if text.isdigit() else 0
        if stem == name and entry.relative.endswith(".json"):
            numbers.append(generation)
    number = max(numbers)
    if number == 0:
        return None, 0
    return kind.model_validate((root / PLAN / f"{generation_name(name, number)}.json").read_json()), number


def write_pin(root: Location, name: str, found: P) -> P:
    """Write a new generation of a pin, unless the newest is equal. Concurrent writers all return the newest."""
    while True:
        latest, number = newest(root, name, type(found))
        if latest == found:
            return latest
        if (root / PLAN / f"{generation_name(name, number + 1)}.json").create_json(found.model_dump(mode="json")):
            if latest is not None:
                log.info("the %s has changed since it was pinned; pinning it again", name.partition("-")[0])
            return found


def inspect_source(root: Location, experiment: Experiment, source: Source, latest: SourcePin | None) -> SourcePin:
    """Read the present state of a source. Errors as for `pin_source`."""
    if source.repository is not None:
        return _inspect_repository(experiment, source.repository, source, latest)
    assert source.location is not None
    dataset, chosen = _choose(experiment, source.location)
    present = {entry.relative: entry for entry in source.location.list()}
    files = [present[path] for path, _ in dataset.files(chosen)]
    known = read_listing(root, latest.listing) if latest is not None else []
    listing = fingerprint(files, known, f"fingerprints of {source.uri}")
    content = _content(listing)
    name = f"{content[:16]}.parquet"
    if listing != known:
        write_listing(root, name, listing)
    return _source_pin(
        experiment,
        dataset,
        chosen,
        kind="files",
        uri=source.uri,
        content=content,
        listing=name,
        files=len(listing),
        size=sum(file.size for file in listing),
    )


def _inspect_repository(experiment: Experiment, name: str, source: Source, latest: SourcePin | None) -> SourcePin:
    from groot_ray.dataset.source.formats import is_metadata

    repository = hub.resolve(name, "dataset", source.revision)
    if latest is not None and latest.revision == repository.commit:
        return latest
    files = [file for file in hub.list_files(repository) if source.wants(file.path)]
    with tempfile.TemporaryDirectory(prefix="groot-ray-meta-") as folder:
        target = open_location(Path(folder) / name)
        fetch(repository, [file for file in files if is_metadata(file.path)], target)
        dataset, chosen = _choose(experiment, target)
    return _source_pin(
        experiment,
        dataset,
        chosen,
        kind="hub",
        uri=source.uri,
        revision=repository.commit,
        content=digest({"commit": repository.commit}),
        files=len(files),
        size=sum(file.size for file in files),
    )


def _choose(experiment: Experiment, location: Location) -> tuple[Recording, list[int]]:
    """The dataset, reduced to the episodes that the document asks for, and their numbers."""
    from groot_ray.dataset.source.formats import open_source

    dataset = open_source(location)
    wanted = experiment.source.episodes
    chosen = [episode.index for episode in dataset.episodes] if wanted is None else sorted(set(wanted))
    return dataset.select(chosen), chosen


def _source_pin(experiment: Experiment, dataset: Recording, chosen: list[int], **found: Any) -> SourcePin:
    from groot_ray.convert.splits import split_episodes

    splits = split_episodes(chosen, experiment.splits)
    return SourcePin(
        version=dataset.version,
        fps=dataset.fps,
        episodes=None if experiment.source.episodes is None else chosen,
        parts={name: list(numbers) for name, numbers in splits.parts().items()},
        unused=list(splits.unused),
        **found,
    )


def inspect_model(root: Location, experiment: Experiment, name: str) -> ModelPin:
    """Read the present state of a base model: a repository's commit, or fingerprints of a folder's files."""
    base = experiment.model.base
    assert base is not None
    repository = hub.hub_name(base)
    if repository is not None:
        commit = hub.resolve(repository, "model", experiment.model.revision).commit
        return ModelPin(base=base, revision=commit, content=digest({"commit": commit}))
    location = open_location(base, experiment.storage.endpoint, experiment.storage.region)
    files = [entry for entry in location.list() if is_model_file(entry.relative)]
    if not any(entry.relative == "config.json" for entry in files):
        raise ConfigurationError(
            f"the base model {location.uri} is not a checkpoint: it has no config.json; correct model.base"
        )
    listing = fingerprint(files, read_listing(root, f"{name}.parquet"), f"fingerprints of {location.uri}")
    write_listing(root, f"{name}.parquet", listing)
    return ModelPin(base=base, content=_content(listing))


def pinned_files(root: Location, experiment: Experiment, pin: ModelPin) -> list[FileRecord]:
    """The files of a base model as they were pinned; empty for fresh weights and models of the hub.

    Raises:
        DataError: another process has pinned a changed model since.
    """
    listing = read_listing(root, f"model-{model_request(experiment)}.parquet")
    if pin.content is None or pin.revision is not None or not listing:
        return []
    if _content(listing) != pin.content:
        raise DataError(
            f"the base model {pin.base} has changed since it was pinned; restore it, or pin it again with "
            "`groot-ray run`"
        )
    return [FileRecord(file.path, file.size, file.sha256) for file in listing]


def is_model_file(path: str) -> bool:
    """Whether a file of a checkpoint can change the model: weights, configuration, tokenizer, not training state."""
    from groot_ray.model.family import checkpoint_patterns

    if Path(path).name.startswith(("optimizer", "trainer_state", "rng")):
        return False
    kept = [pattern for pattern in checkpoint_patterns() if pattern.endswith((".json", ".safetensors", "/*"))]
    return any(fnmatch(path, pattern) for pattern in kept)


def _content(listing: list[Fingerprinted]) -> str:
    return listing_digest([(file.path, file.size, file.sha256) for file in listing])
