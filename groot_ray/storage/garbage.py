"""What can be removed from a storage: nothing that a plan, a run or a manifest names, nothing of a running attempt, nothing young."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from groot_ray.errors import ConfigurationError
from groot_ray.progress import format_size
from groot_ray.storage.catalog import PLAN, Result, ago, is_experiment, is_proof, need_experiment, results
from groot_ray.storage.check import CHECK_FOLDER
from groot_ray.storage.location import Entry, Location, open_location
from groot_ray.storage.manifest import MANIFEST
from groot_ray.storage.s3 import S3Store
from groot_ray.storage.tree import local_partials

DAY = 86400.0
UPLOAD_AGE = DAY  # an upload may take long; a day without its end, and nobody is at it any more
UNFINISHED_AGE = 7 * DAY  # unfinished results can be gone on with
# Files at the top of a result's folder, and the part of each that may name other results; the manifests' part is `options`.
NAMING = {"run.json": "model", "provenance.json": "experiment"}


@dataclass(frozen=True)
class Garbage:
    """Something that can be removed: what and where, its bytes, why, and how."""

    what: str
    size: int
    reason: str
    remove: Callable[[], object]


@dataclass(frozen=True)
class Contents:
    """What of an experiment is looked at: its results, the files of its plan, and the pins among these by file name."""

    folder: Location
    results: list[Result]
    plan: list[Entry]
    pins: dict[str, Any]


class Named:
    """The URIs that the experiments of a storage name; read when first asked for, without listing anew what `listed` holds.

    They stand in the pins (source, base model), in a finetuning's `run.json`, in the options of manifests, and in the documents that
    results were made by.
    """

    def __init__(self, storage: Location, listed: Sequence[Contents]) -> None:
        self._storage = storage
        self._listed = listed

    def has(self, folder: Location) -> bool:
        """Whether one of them is `folder` or lies in it.

        Told by the path below the storage: a shared folder is mounted elsewhere on other machines, a relative path counts from another
        working directory.
        """
        below = folder.uri.removeprefix(self._storage.uri).strip("/")
        return any(f"/{below}/" in f"{uri}/" for uri in self._uris)

    @cached_property
    def _uris(self) -> frozenset[str]:
        known = [contents.folder for contents in self._listed]
        others = [folder for folder in self._storage.folders() if folder not in known and is_experiment(folder)]
        documents = [
            *(document for contents in self._listed for document in documents_of(contents)),
            *(document for experiment in others for document in documents_in(experiment)),
        ]
        return frozenset(uri for document in documents for text in texts(document) if (uri := uri_of(text)) is not None)


def collect_garbage(storage: Location, name: str | None = None, *, delete: bool = False) -> str:
    """Find, and with `delete` remove, what nothing names in a storage or in its experiment `name`; returns lines for people.

    Raises:
        ConfigurationError: there is no experiment of that name.
    """
    location = storage / name if name else storage
    if name:
        need_experiment(location)
    found = list(find_garbage(location))
    lines = [f"{item.what} ({format_size(item.size)}): {item.reason}" for item in found]
    for item in found if delete else ():
        item.remove()
    total = format_size(sum(item.size for item in found))
    if not found:
        return f"nothing to remove in {location.uri}"
    if delete:
        return "\n".join([*lines, f"removed {len(found)} items, {total}"])
    return "\n".join([*lines, f"{len(found)} items, {total}; nothing was removed: add --delete to remove them"])


def find_garbage(location: Location) -> Iterator[Garbage]:
    """What can be removed below a storage or an experiment."""
    single = is_experiment(location)
    places = [location] if single else [folder for folder in location.folders() if is_experiment(folder)]
    listed = [contents_of(experiment) for experiment in places]
    named = Named(location.parent if single else location, listed)
    for experiment in listed:
        yield from of_experiment(experiment, named)
    yield from left_uploads(location)
    yield from left_checks(location)


def contents_of(experiment: Location) -> Contents:
    """List an experiment, and read its pins."""
    found = list(results(experiment))
    plan = list((experiment / PLAN).list(recursive=False))
    return Contents(experiment, found, plan, read_pins(plan))


def read_pins(plan: Sequence[Entry]) -> dict[str, Any]:
    """The pins among the files of a plan, by file name."""
    return {entry.relative: entry.location.read_json() for entry in plan if entry.relative.endswith(".json")}


def documents_of(contents: Contents) -> Iterator[Any]:
    """JSON data in which an experiment that was listed names what its results are made from."""
    yield from contents.pins.values()
    for result in contents.results:
        yield from documents_at(result.folder, result.top)


def documents_in(experiment: Location) -> Iterator[Any]:
    """The same of an experiment that was not listed; what lies deeper in its results is not listed here either."""
    yield from read_pins(list((experiment / PLAN).list(recursive=False))).values()
    for stage in experiment.folders():
        for folder in stage.folders():
            yield from documents_at(folder, [entry.relative for entry in folder.list(recursive=False)])


def documents_at(folder: Location, names: Iterable[str]) -> Iterator[Any]:
    """JSON data in which a result names what it is made from; `names` are the files at the top of its folder."""
    for name in names:
        part = "options" if is_proof(name) else NAMING.get(name)
        if part is not None:
            yield (folder / name).read_json().get(part)


def texts(data: Any) -> Iterator[str]:
    """Every text in JSON data, however deep."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict | list):
        for value in data.values() if isinstance(data, dict) else data:
            yield from texts(value)


def uri_of(text: str) -> str | None:
    """A text as the URI that a location has; None for what names no folder."""
    if "/" not in text:
        return None
    try:
        return open_location(text).uri
    except ConfigurationError:  # hf://org/name, or no address at all
        return None


def of_experiment(experiment: Contents, named: Named) -> Iterator[Garbage]:
    """Superseded and abandoned results, orphaned checkpoints and listings of an experiment."""
    found = experiment.results
    inputs = names_in_manifests(found)
    at_work = any(result.attempt is not None and result.attempt.alive for result in found)
    for result in found:
        if result.attempt is not None and result.attempt.alive:
            continue
        # What a running stage is made from stands in no manifest yet.
        reason = None if at_work else why_removable(result, found, inputs)
        if reason is not None and not named.has(result.folder):
            yield Garbage(result.folder.uri, result.size, reason, remover(result))
        else:
            yield from orphaned_checkpoints(result, named)
    yield from unnamed_listings(experiment)


def why_removable(result: Result, found: Sequence[Result], named: set[tuple[str, str]]) -> str | None:
    """Why a whole result can go, or None."""
    if (result.stage, result.name) in named:
        return None
    key, _, generation = result.name.partition(".")
    newer = [
        other.name
        for other in found
        if other.stage == result.stage
        and other.name.partition(".")[0] == key
        and int(other.name.partition(".")[2] or 1) > int(generation or 1)
        and other.manifests
    ]
    if newer:
        return f"superseded by {newer[-1]}, and no other result was made from it"
    if not result.manifests and time.time() - result.used > UNFINISHED_AGE:
        return f"unfinished, and left alone since {ago(result.used)}"
    return None


def names_in_manifests(found: Sequence[Result]) -> set[tuple[str, str]]:
    """(stage, folder) of every result from which another finished one was made."""
    named: set[tuple[str, str]] = set()
    for result in found:
        for manifest in result.manifests.values():
            named.update((stage, name) for stage, name in manifest.inputs.items() if isinstance(name, str))
    return named


def remover(result: Result) -> Callable[[], None]:
    """Removes a result, its manifests first, so that it stops counting at once."""

    def remove() -> None:
        for name in result.manifests:
            (result.folder / name).delete()
        result.folder.delete_tree()

    return remove


def orphaned_checkpoints(result: Result, named: Named) -> Iterator[Garbage]:
    """Checkpoints whose save was cut off: folders without a manifest, in a run that nobody is at."""
    for above in (result.folder, result.folder / "recovery"):
        for folder in above.folders():
            if not folder.name.startswith(("checkpoint-", "step-")) or (folder / MANIFEST).exists():
                continue
            entries = list(folder.list())
            old = bool(entries) and time.time() - max(entry.modified for entry in entries) > UPLOAD_AGE
            if old and not named.has(folder):
                yield Garbage(
                    folder.uri,
                    sum(entry.size for entry in entries),
                    "a checkpoint that was never finished",
                    folder.delete_tree,
                )


def unnamed_listings(experiment: Contents) -> Iterator[Garbage]:
    """Listings of sources that no pin names any more."""
    pins = experiment.pins
    named = {pin.get("listing") for pin in pins.values()} | {f"{name[:-5]}.parquet" for name in pins}
    for entry in experiment.plan:
        if (
            entry.relative.endswith(".parquet")
            and entry.relative not in named
            and time.time() - entry.modified > UPLOAD_AGE
        ):
            yield Garbage(entry.location.uri, entry.size, "a listing that no plan names", entry.location.delete)


def left_uploads(location: Location) -> Iterator[Garbage]:
    """What cut-off writes have left: multipart uploads in S3, files beside their place on a disk."""
    store = location.store
    if isinstance(store, S3Store):
        for key, upload, begun in store.unfinished_uploads(location.key):
            if time.time() - begun > UPLOAD_AGE:
                yield Garbage(
                    store.uri(key), 0, f"an upload that was cut off {ago(begun)}", aborter(store, key, upload)
                )
        return
    for path in local_partials(location.path):
        state = path.stat()
        if time.time() - state.st_mtime > UPLOAD_AGE:
            yield Garbage(str(path), state.st_size, f"a write that was cut off {ago(state.st_mtime)}", unlinker(path))


def left_checks(location: Location) -> Iterator[Garbage]:
    """Probes of storage checks that were killed."""
    for entry in (location / CHECK_FOLDER).list():
        if time.time() - entry.modified > UPLOAD_AGE:
            yield Garbage(entry.location.uri, entry.size, "left by a check of the storage", entry.location.delete)


def aborter(store: S3Store, key: str, upload: str) -> Callable[[], None]:
    return lambda: store.abort_upload(key, upload)


def unlinker(path: Path) -> Callable[[], None]:
    return lambda: path.unlink(missing_ok=True)
