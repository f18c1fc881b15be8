"""What can be removed from a storage: nothing that a manifest names, nothing of a running attempt, nothing young."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from groot_ray.progress import format_size
from groot_ray.storage.catalogue import PLAN, Result, ago, is_experiment, results
from groot_ray.storage.check import CHECK_FOLDER
from groot_ray.storage.location import Location
from groot_ray.storage.manifest import MANIFEST
from groot_ray.storage.s3 import S3Store
from groot_ray.storage.tree import local_partials

DAY = 86400.0
UPLOAD_AGE = DAY  # an upload may take long; a day without its end, and nobody is at it any more
UNFINISHED_AGE = 7 * DAY  # unfinished results can be gone on with


@dataclass(frozen=True)
class Garbage:
    """Something that can be removed: what and where, its bytes, why, and how."""

    what: str
    size: int
    reason: str
    remove: Callable[[], object]


def collect_garbage(location: Location, *, delete: bool = False) -> str:
    """Find, and with `delete` remove, what no manifest names below a storage or an experiment; returns lines for people."""
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
    places = (
        [location] if is_experiment(location) else [folder for folder in location.folders() if is_experiment(folder)]
    )
    for experiment in places:
        yield from of_experiment(experiment)
    yield from left_uploads(location)
    yield from left_checks(location)


def of_experiment(experiment: Location) -> Iterator[Garbage]:
    """Superseded and abandoned results, orphaned checkpoints and listings of an experiment."""
    found = list(results(experiment))
    named = names_in_manifests(found)
    at_work = any(result.attempt is not None and result.attempt.alive for result in found)
    for result in found:
        if result.attempt is not None and result.attempt.alive:
            continue
        # What a running stage is made from stands in no manifest yet.
        reason = None if at_work else why_removable(result, found, named)
        if reason is not None:
            yield Garbage(result.folder.uri, result.size, reason, remover(result))
        else:
            yield from orphaned_checkpoints(result)
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


def orphaned_checkpoints(result: Result) -> Iterator[Garbage]:
    """Checkpoints whose save was cut off: folders without a manifest, in a run that nobody is at."""
    for above in (result.folder, result.folder / "recovery"):
        for folder in above.folders():
            if not folder.name.startswith(("checkpoint-", "step-")) or (folder / MANIFEST).exists():
                continue
            entries = list(folder.list())
            if entries and time.time() - max(entry.modified for entry in entries) > UPLOAD_AGE:
                yield Garbage(
                    folder.uri,
                    sum(entry.size for entry in entries),
                    "a checkpoint that was never finished",
                    folder.delete_tree,
                )


def unnamed_listings(experiment: Location) -> Iterator[Garbage]:
    """Listings of sources that no pin names any more."""
    entries = list((experiment / PLAN).list(recursive=False))
    pins = [entry for entry in entries if entry.relative.endswith(".json")]
    named = {entry.location.read_json().get("listing") for entry in pins} | {
        f"{entry.relative[:-5]}.parquet" for entry in pins
    }
    for entry in entries:
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
