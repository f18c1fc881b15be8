"""Finds what can be removed from a storage: never what a plan, run or manifest names, or what is recent or running."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from groot_ray.errors import ConfigurationError
from groot_ray.progress import format_size
from groot_ray.stages.catalog import Result, ago, is_experiment, is_proof, need_experiment, results
from groot_ray.stages.place import PLAN
from groot_ray.storage import Entry, Location, open_location
from groot_ray.storage.check import CHECK_FOLDER
from groot_ray.storage.lease import last_attempt
from groot_ray.storage.manifest import MANIFEST
from groot_ray.storage.s3 import S3Store
from groot_ray.storage.tree import local_partials

log = logging.getLogger(__name__)

DAY = 86400.0
UPLOAD_AGE = DAY  # no upload takes a day
UNFINISHED_AGE = 7 * DAY  # an unfinished result can still be continued
# Files at the top of a result's folder, and their key that may name other results (in manifests: `options`).
NAMING = {"run.json": "model", "provenance.json": "experiment"}


@dataclass(frozen=True)
class Garbage:
    """An item that can be removed: what and where it is, its bytes, why, and how."""

    what: str
    size: int
    reason: str
    remove: Callable[[], object]


@dataclass(frozen=True)
class Contents:
    """An experiment as listed: its results, the files of its plan, and its pins by file name."""

    folder: Location
    results: list[Result]
    plan: list[Entry]
    pins: dict[str, Any]


class Named:
    """URIs that the experiments of a storage name, read on first use; experiments in `listed` are not listed again.

    They are in the pins (source, base model), in `run.json` of a finetuning run, in the options of manifests, and in
    the documents that results were made from.
    """

    def __init__(self, storage: Location, listed: Sequence[Contents]) -> None:
        self._storage = storage
        self._listed = listed

    def has(self, folder: Location) -> bool:
        """Whether one of these URIs is `folder` or lies in it.

        Compares the path below the storage, because other machines may mount a shared folder elsewhere, and a relative
        path may have been given in another working directory.
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
    """Find what nothing names in a storage or in its experiment `name`; removes it if `delete`; returns a text report.

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
    at_work = [result.folder for experiment in listed for result in experiment.results if is_running(result)]
    yield from left_uploads(location, at_work)
    yield from left_checks(location)


def is_running(result: Result) -> bool:
    """Whether an attempt was working on this result when it was listed."""
    return result.attempt is not None and result.attempt.alive


def unless_resumed(folder: Location, remove: Callable[[], object]) -> Callable[[], None]:
    """Return `remove`, preceded by another look: an attempt may have begun since the storage was listed."""

    def remove_if_idle() -> None:
        last = last_attempt(folder)
        if last is not None and last.alive:
            log.warning("%s is kept: %s has begun meanwhile", folder.uri, last.who)
        else:
            remove()

    return remove_if_idle


def contents_of(experiment: Location) -> Contents:
    """List an experiment, and read its pins."""
    found = list(results(experiment))
    plan = list((experiment / PLAN).list(recursive=False))
    return Contents(experiment, found, plan, read_pins(plan))


def read_pins(plan: Sequence[Entry]) -> dict[str, Any]:
    """The pins among the files of a plan, by file name."""
    return {entry.relative: entry.location.read_json() for entry in plan if entry.relative.endswith(".json")}


def documents_of(contents: Contents) -> Iterator[Any]:
    """JSON data in which a listed experiment names the inputs of its results."""
    yield from contents.pins.values()
    for result in contents.results:
        yield from documents_at(result.folder, result.top)


def documents_in(experiment: Location) -> Iterator[Any]:
    """The same for an experiment that was not listed; lists only the top level of its results."""
    yield from read_pins(list((experiment / PLAN).list(recursive=False))).values()
    for stage in experiment.folders():
        for folder in stage.folders():
            yield from documents_at(folder, [entry.relative for entry in folder.list(recursive=False)])


def documents_at(folder: Location, names: Iterable[str]) -> Iterator[Any]:
    """JSON data in which a result names its inputs; `names` are the files at the top of its folder."""
    for name in names:
        part = "options" if is_proof(name) else NAMING.get(name)
        if part is not None:
            yield (folder / name).read_json().get(part)


def texts(data: Any) -> Iterator[str]:
    """Every string in JSON data, at any depth."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict | list):
        for value in data.values() if isinstance(data, dict) else data:
            yield from texts(value)


def uri_of(text: str) -> str | None:
    """The URI of the location that a string names; None if it does not name one."""
    if "/" not in text:
        return None
    try:
        return open_location(text).uri
    except ConfigurationError:  # hf://org/name, or another string with a slash
        return None


def of_experiment(experiment: Contents, named: Named) -> Iterator[Garbage]:
    """Superseded and abandoned results, incomplete checkpoints and unnamed listings of an experiment."""
    found = experiment.results
    inputs = names_in_manifests(found)
    at_work = any(map(is_running, found))
    for result in found:
        if is_running(result):
            continue
        # The inputs of a running stage are not in a manifest yet.
        reason = None if at_work else why_removable(result, found, inputs)
        if reason is not None and not named.has(result.folder):
            yield Garbage(result.folder.uri, result.size, reason, unless_resumed(result.folder, remover(result)))
        else:
            yield from incomplete_checkpoints(result, named)
    yield from unnamed_listings(experiment)


def why_removable(result: Result, found: Sequence[Result], named: set[tuple[str, str]]) -> str | None:
    """Why a result can be removed, or None if it cannot."""
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
        return f"superseded by {newer[-1]}, and no other result uses it"
    if not result.manifests and time.time() - result.used > UNFINISHED_AGE:
        return f"unfinished, last written {ago(result.used)}"
    return None


def names_in_manifests(found: Sequence[Result]) -> set[tuple[str, str]]:
    """(stage, folder) of every result that is an input of another finished one."""
    named: set[tuple[str, str]] = set()
    for result in found:
        for manifest in result.manifests.values():
            named.update((stage, name) for stage, name in manifest.inputs.items() if isinstance(name, str))
    return named


def remover(result: Result) -> Callable[[], None]:
    """Return a function that removes a result, its manifests first, so that it no longer counts as done."""

    def remove() -> None:
        for name in result.manifests:
            (result.folder / name).delete()
        result.folder.delete_tree()

    return remove


def incomplete_checkpoints(result: Result, named: Named) -> Iterator[Garbage]:
    """Checkpoints whose save was interrupted: folders without a manifest, in a run that is not running."""
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
                    unless_resumed(result.folder, folder.delete_tree),
                )


def unnamed_listings(experiment: Contents) -> Iterator[Garbage]:
    """Listings of sources that no pin names."""
    pins = experiment.pins
    named = {pin.get("listing") for pin in pins.values()} | {f"{name[:-5]}.parquet" for name in pins}
    for entry in experiment.plan:
        if (
            entry.relative.endswith(".parquet")
            and entry.relative not in named
            and time.time() - entry.modified > UPLOAD_AGE
        ):
            yield Garbage(entry.location.uri, entry.size, "a listing that no plan names", entry.location.delete)


def left_uploads(location: Location, at_work: Sequence[Location] = ()) -> Iterator[Garbage]:
    """Leftovers of interrupted writes: multipart uploads in S3, temporary files on a disk; not below `at_work`."""
    busy = tuple(f"{folder.key}/" for folder in at_work)
    store = location.store
    if isinstance(store, S3Store):
        for key, upload, begun in store.unfinished_uploads(location.key):
            if time.time() - begun > UPLOAD_AGE and not key.startswith(busy):
                yield Garbage(
                    store.uri(key), 0, f"an interrupted upload, started {ago(begun)}", aborter(store, key, upload)
                )
        return
    for path in local_partials(location.path):
        try:
            state = path.stat()
        except FileNotFoundError:  # its writer has just finished
            continue
        if time.time() - state.st_mtime > UPLOAD_AGE and not str(path).startswith(busy):
            yield Garbage(
                str(path), state.st_size, f"an interrupted write, last modified {ago(state.st_mtime)}", unlinker(path)
            )


def left_checks(location: Location) -> Iterator[Garbage]:
    """Leftovers of storage checks that were killed."""
    for entry in (location / CHECK_FOLDER).list():
        if time.time() - entry.modified > UPLOAD_AGE:
            yield Garbage(entry.location.uri, entry.size, "left by a check of the storage", entry.location.delete)


def aborter(store: S3Store, key: str, upload: str) -> Callable[[], None]:
    """Return a function that aborts an unfinished upload."""
    return lambda: store.abort_upload(key, upload)


def unlinker(path: Path) -> Callable[[], None]:
    """Return a function that removes a file."""
    return lambda: path.unlink(missing_ok=True)
