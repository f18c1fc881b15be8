"""Finding out what a document's source and base model are now, and pinning that in storage.

Files are fingerprinted by reading them once; a file whose size and change token are those of an earlier pin is not read again.
"""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from groot_ray.errors import ConfigurationError, ServiceUnavailableError
from groot_ray.experiment.keys import digest
from groot_ray.experiment.plan import ModelPin, Pin, SourcePin, listing_digest, model_request, source_request
from groot_ray.experiment.schema import Experiment
from groot_ray.progress import progress
from groot_ray.stages import hub
from groot_ray.stages.sources import Source, SourceGoneError, source_of
from groot_ray.storage import Entry, Location, open_location
from groot_ray.storage.manifest import generation_name, hash_file

if TYPE_CHECKING:
    from groot_ray.dataset.source.lerobot_v2 import SourceDataset

log = logging.getLogger(__name__)

PLAN = "plan"
THREADS = 16
P = TypeVar("P", bound=Pin)


@dataclass(frozen=True)
class Fingerprinted:
    """A pinned file: path, bytes, sha256, and the change token of when it was read."""

    path: str
    size: int
    sha256: str
    version: str


def pin_source(root: Location, experiment: Experiment, *, refresh: bool) -> SourcePin:
    """The pin of a document's source: the newest in storage, or, when there is none or `refresh` asks, what the source is now.

    Raises:
        ConfigurationError: the source does not exist, or the splits ask for more episodes than it has.
        DataError: it is no dataset that can be read.
        ServiceUnavailableError: it cannot be reached, and no pin says what it was.
    """
    name = f"source-{source_request(experiment)}"
    latest, _ = newest(root, name, SourcePin)
    if latest is not None and not refresh:
        return latest
    try:
        found = look_at_source(root, experiment, source_of(experiment), latest)
    except (ServiceUnavailableError, SourceGoneError) as error:
        if latest is None:
            raise
        log.warning("%s; going on with what was pinned before (%s)", error, latest.revision or latest.content[:12])
        return latest
    return pin(root, name, found)


def pin_model(root: Location, experiment: Experiment, *, refresh: bool) -> ModelPin:
    """The pin of a document's base model; see `pin_source`."""
    if experiment.model.base is None:
        return ModelPin(base=None, content=None)
    name = f"model-{model_request(experiment)}"
    latest, _ = newest(root, name, ModelPin)
    if latest is not None and not refresh:
        return latest
    try:
        found = look_at_model(root, experiment, name)
    except ServiceUnavailableError as error:
        if latest is None:
            raise
        log.warning("%s; going on with what was pinned before (%s)", error, latest.revision)
        return latest
    return pin(root, name, found)


def newest(root: Location, name: str, kind: type[P]) -> tuple[P | None, int]:
    """The newest generation of a pin, and its number (0 where there is none)."""
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


def pin(root: Location, name: str, found: P) -> P:
    """Write a pin down, unless the newest one says the same; of two that do so at once, both end with the newest."""
    while True:
        latest, number = newest(root, name, type(found))
        if latest == found:
            return latest
        if (root / PLAN / f"{generation_name(name, number + 1)}.json").create_json(found.model_dump(mode="json")):
            if latest is not None:
                log.info("%s has changed since it was pinned: a new plan is made", name.partition("-")[0])
            return found


def look_at_source(root: Location, experiment: Experiment, source: Source, latest: SourcePin | None) -> SourcePin:
    """What a source is now; see `pin_source`."""
    if source.repository is not None:
        return _look_at_hub(experiment, source.repository, source, latest)
    assert source.location is not None
    dataset, chosen = _choose(experiment, source.location)
    present = {entry.relative: entry for entry in source.location.list()}
    files = [present[path] for path, _ in dataset.files(chosen)]
    known = read_listing(root, latest.listing) if latest is not None else []
    listing = fingerprint(files, known, f"fingerprints of {source.uri}")
    content = listing_digest([(file.path, file.size, file.sha256) for file in listing])
    name = f"{content[:16]}.parquet"
    if listing != known:
        write_listing(root, name, listing)
    size = sum(file.size for file in listing)
    return _source_pin(
        experiment,
        dataset,
        chosen,
        kind="files",
        uri=source.uri,
        content=content,
        listing=name,
        files=len(listing),
        size=size,
    )


def _look_at_hub(experiment: Experiment, name: str, source: Source, latest: SourcePin | None) -> SourcePin:
    repository = hub.resolve(name, "dataset", source.revision)
    if latest is not None and latest.revision == repository.commit:
        return latest
    files = [file for file in hub.list_files(repository) if source.wants(file.path)]
    with tempfile.TemporaryDirectory(prefix="groot-ray-meta-") as folder:
        target = open_location(Path(folder) / name)
        hub.fetch(repository, [file for file in files if file.path.startswith("meta")], target)
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


def _choose(experiment: Experiment, location: Location) -> tuple[SourceDataset, list[int]]:
    """The dataset with the episodes that are asked for, and their numbers."""
    from groot_ray.dataset.source.lerobot_v2 import open_source

    dataset = open_source(location)
    wanted = experiment.source.episodes
    if wanted is not None and not wanted:
        raise ConfigurationError("source.episodes is an empty list; name episodes, or leave it out for all")
    chosen = [episode.index for episode in dataset.episodes] if wanted is None else sorted(set(wanted))
    return dataset.select(chosen), chosen


def _source_pin(experiment: Experiment, dataset: SourceDataset, chosen: list[int], **facts: Any) -> SourcePin:
    from groot_ray.convert.splits import split_episodes

    splits = split_episodes(chosen, experiment.splits)
    return SourcePin(
        version=dataset.version,
        fps=dataset.fps,
        episodes=None if experiment.source.episodes is None else chosen,
        parts={name: list(numbers) for name, numbers in splits.parts().items()},
        unused=list(splits.unused),
        **facts,
    )


def look_at_model(root: Location, experiment: Experiment, name: str) -> ModelPin:
    """What a base model is now: the commit of a hub repository, or the fingerprint of a folder's weights and configuration."""
    from fnmatch import fnmatch

    from groot_ray.model.fetch import MODEL_FILES

    base = experiment.model.base
    assert base is not None
    repository = hub.hub_name(base)
    if repository is not None:
        commit = hub.resolve(repository, "model", experiment.model.revision).commit
        return ModelPin(base=base, revision=commit, content=digest({"commit": commit}))
    location = open_location(base, experiment.storage.endpoint, experiment.storage.region)
    kept = [pattern for pattern in MODEL_FILES if pattern.endswith((".json", ".safetensors")) or pattern.endswith("/*")]
    files = [entry for entry in location.list() if any(fnmatch(entry.relative, pattern) for pattern in kept)]
    if not any(entry.relative == "config.json" for entry in files):
        raise ConfigurationError(
            f"the base model {location.uri} is no checkpoint: it has no config.json; correct model.base"
        )
    files = [
        entry for entry in files if not Path(entry.relative).name.startswith(("optimizer", "trainer_state", "rng"))
    ]
    listing = fingerprint(files, read_listing(root, f"{name}.parquet"), f"fingerprints of {location.uri}")
    write_listing(root, f"{name}.parquet", listing)
    return ModelPin(base=base, content=listing_digest([(file.path, file.size, file.sha256) for file in listing]))


def fingerprint(files: Iterable[Entry], known: Iterable[Fingerprinted], title: str) -> list[Fingerprinted]:
    """Fingerprints of `files` in the order of their paths; one that is `known` at the same size and change token is not read."""
    before = {(file.path, file.size, file.version): file for file in known}
    ordered = sorted(files, key=lambda entry: entry.relative)
    unknown = [entry for entry in ordered if (entry.relative, entry.size, entry.version) not in before]
    if unknown:
        with progress(title, len(unknown), "files") as bar, ThreadPoolExecutor(THREADS, "fingerprint") as threads:
            for entry, (size, sha256) in zip(
                unknown, threads.map(lambda e: hash_file(e.location), unknown), strict=True
            ):
                before[entry.relative, entry.size, entry.version] = Fingerprinted(
                    entry.relative, size, sha256, entry.version
                )
                bar.advance(1)
    return [before[entry.relative, entry.size, entry.version] for entry in ordered]


def read_listing(root: Location, name: str | None) -> list[Fingerprinted]:
    """A listing that a pin names; empty where there is none."""
    if name is None or not (root / PLAN / name).exists():
        return []
    import pyarrow.parquet as parquet

    table = parquet.read_table(io.BytesIO((root / PLAN / name).read_bytes()))
    return [Fingerprinted(**row) for row in table.to_pylist()]


def write_listing(root: Location, name: str, files: list[Fingerprinted]) -> None:
    """Write a listing beside its pin; change tokens in it are hints, so it may be written again for the same content."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    columns = {field: [getattr(file, field) for file in files] for field in ("path", "size", "sha256", "version")}
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer)
    (root / PLAN / name).write_bytes(buffer.getvalue())
