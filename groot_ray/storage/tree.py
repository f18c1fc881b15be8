"""Complete folders: upload, download, copy, and a local mirror that the processes of a node share."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.progress import format_size
from groot_ray.storage.hashes import THREADS, hashing_download
from groot_ray.storage.local import is_partial
from groot_ray.storage.location import Entry, Location, open_location
from groot_ray.storage.store import NotFoundError
from groot_ray.storage.verify import (
    Damage,
    DamagedFilesError,
    Expected,
    listed_damages,
    read_stamps,
    stamp,
    verify_in_place,
    write_stamps,
)

log = logging.getLogger(__name__)

T = TypeVar("T")


def upload_tree(local: Path, target: Location) -> int:
    """Copy every file below the folder `local` into `target`; returns their number."""
    return copy_tree(open_location(local), target)


def download_tree(source: Location, local: Path) -> int:
    """Copy every file below `source` into the folder `local`; returns their number."""
    return copy_tree(source, open_location(local))


def copy_tree(source: Location, target: Location) -> int:
    """Copy every file below `source` to the same name below `target`; returns their number.

    Raises:
        NotFoundError: there is no file below `source`.
    """
    entries = list(source.list())
    if not entries:
        raise NotFoundError(f"there is nothing in {source.uri}")
    for_each(lambda entry: (target / entry.relative).copy_from(entry.location), entries)
    return len(entries)


def for_each(work: Callable[[T], object], items: Iterable[T]) -> None:
    """Call `work` for every item in a few threads; after the first error no further item is started."""
    with ThreadPoolExecutor(THREADS, "storage") as threads:
        pending = [threads.submit(work, item) for item in items]
        try:
            for future in pending:
                future.result()
        except BaseException:
            for future in pending:
                future.cancel()
            raise


def mirror(
    source: Location, cache: Path, without: frozenset[str] = frozenset(), expected: Expected | None = None
) -> Path:
    """Return a local folder with all files of `source`: itself if local, else a complete copy below `cache`.

    The processes of a node share a copy: the first fetches it, the others wait. Files that changed in the source, or in
    the copy, are fetched again. If the copy is complete, a call costs one listing.

    Args:
        without: paths of files to leave out, such as an optimizer's state.
        expected: what `source` must hold. Bytes are compared while they are copied, or read once if they stay where
            they are; see `verify`.

    Raises:
        NotFoundError: there is nothing in `source`.
        ConfigurationError: the disk has too little free space.
        DamagedFilesError: a file is not as expected; no copy of it is kept.
        DataError: a file changed while it was being fetched.
    """
    cache = Path(cache).expanduser()
    wanted = None if expected is None else expected.but(without)
    folder = mirror_folder(source, cache, without)
    if source.is_local:
        if not source.path.is_dir():
            raise NotFoundError(f"there is no folder {source.uri}")
        if wanted is not None:
            _verify_local(source, folder, wanted, without)
        return source.path
    with locked(folder.with_name(f"{folder.name}.lock")):
        _refresh(source, folder, without, wanted)
    return folder


def _verify_local(source: Location, folder: Path, expected: Expected, without: frozenset[str]) -> None:
    """Verify a local folder, once among the processes of a node; without a lock where the cache cannot be written."""
    notes = folder.with_name(f"{folder.name}.verified.json")
    with ExitStack() as stack:
        with suppress(OSError):
            stack.enter_context(locked(notes.with_name(f"{folder.name}.lock")))
        verify_in_place(source, expected, notes, without)


def mirror_folder(source: Location, cache: Path, without: frozenset[str] = frozenset()) -> Path:
    """Where `mirror` keeps its copy of an S3 folder: the folder's name, with a hash of its address and `without`."""
    from groot_ray.storage.client import effective_endpoint

    address = " ".join([effective_endpoint(source.endpoint) or "aws", source.uri, *sorted(without)])
    return cache / "mirrors" / f"{source.name}-{hashlib.sha256(address.encode()).hexdigest()[:16]}"


def _refresh(source: Location, folder: Path, without: frozenset[str], expected: Expected | None) -> None:
    """Update the copy in `folder` to the present listing of `source`.

    `folder`.json has, for each file, its version in the source, and stamp and sha256 of the copy.
    """
    notes = folder.with_name(f"{folder.name}.json")
    known = read_stamps(notes)
    entries = [entry for entry in source.list() if entry.relative not in without]
    if not entries:
        raise NotFoundError(f"there is nothing in {source.uri}")
    hashes = None if expected is None else {file.path: file.sha256 for file in expected.files}
    if expected is not None:
        damages = listed_damages(expected.files, {entry.relative: entry.size for entry in entries})
        if damages:
            raise DamagedFilesError(source, damages, expected.advice)

    def is_here(entry: Entry) -> bool:
        version, kept, sha256 = known.get(entry.relative, ["", "", ""])
        right = hashes is None or sha256 == hashes[entry.relative]
        return right and version == entry.version and kept == stamp(folder / entry.relative)

    here = {entry.relative: known[entry.relative] for entry in entries if is_here(entry)}
    missing = [entry for entry in entries if entry.relative not in here]
    damaged: list[Damage] = []

    def fetch(entry: Entry) -> None:
        sha256 = _fetch(entry, folder)
        path = folder / entry.relative
        if hashes is not None and sha256 != hashes[entry.relative]:
            path.unlink()
            damaged.append(Damage(entry.relative, "bytes"))
            return
        here[entry.relative] = [entry.version, stamp(path) or "", sha256]

    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        _check_room(folder, sum(entry.size for entry in missing), source)
        log.info("fetching %d files of %s to %s", len(missing), source.uri, folder)
        for_each(fetch, missing)
    wanted = {entry.relative for entry in entries}
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if str(path.relative_to(folder)) not in wanted:
            path.unlink()
    if here != known:
        write_stamps(notes, here)
    if damaged:
        assert expected is not None
        raise DamagedFilesError(source, sorted(damaged, key=lambda damage: damage.path), expected.advice)


def _fetch(entry: Entry, folder: Path) -> str:
    """Copy one file; returns the sha256 of its bytes."""
    path = folder / entry.relative
    size, sha256 = hashing_download(entry.location, path)
    if size != entry.size:
        path.unlink()
        raise DataError(f"{entry.location.uri} changed while it was being fetched; try again when nobody writes to it")
    return sha256


def _check_room(folder: Path, needed: int, source: Location) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ConfigurationError(
            f"a local copy of {source.uri} needs {format_size(needed)}, but {folder} has only {format_size(free)} "
            "free; free up space or set storage.cache to a larger disk"
        )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock among the processes of a node; it is released if the process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)


def local_partials(folder: Path) -> Iterator[Path]:
    """Files that killed writers left below a local folder."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent) / name for name in names if is_partial(name))
