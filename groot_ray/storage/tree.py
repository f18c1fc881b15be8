"""Complete folders: upload, download, copy, and a local mirror that the processes of a node share."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.progress import format_size
from groot_ray.storage.local import is_partial, place_file
from groot_ray.storage.location import Entry, Location, open_location
from groot_ray.storage.store import NotFoundError

log = logging.getLogger(__name__)

THREADS = 8
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


def mirror(source: Location, cache: Path, without: frozenset[str] = frozenset()) -> Path:
    """Return a local folder with all files of `source`: itself if local, else a complete copy below `cache`.

    The processes of a node share a copy: the first fetches it, the others wait. Files that changed in the source are
    fetched again. If the copy is complete, a call costs one listing.

    Args:
        without: paths of files to leave out, such as an optimizer's state.

    Raises:
        NotFoundError: there is nothing in `source`.
        ConfigurationError: the disk has too little free space.
        DataError: a file changed while it was being fetched.
    """
    if source.is_local:
        if not source.path.is_dir():
            raise NotFoundError(f"there is no folder {source.uri}")
        return source.path
    cache = Path(cache).expanduser()
    folder = mirror_folder(source, cache, without)
    with locked(folder.with_name(f"{folder.name}.lock")):
        _refresh(source, folder, without)
    return folder


def mirror_folder(source: Location, cache: Path, without: frozenset[str] = frozenset()) -> Path:
    """Where `mirror` keeps its copy of an S3 folder: the folder's name, with a hash of its address and `without`."""
    from groot_ray.storage.client import effective_endpoint

    address = " ".join([effective_endpoint(source.endpoint) or "aws", source.uri, *sorted(without)])
    return cache / "mirrors" / f"{source.name}-{hashlib.sha256(address.encode()).hexdigest()[:16]}"


def _refresh(source: Location, folder: Path, without: frozenset[str]) -> None:
    """Update the copy in `folder` to the present listing of `source`; `folder`.json has the version of each file."""
    record = folder.with_name(f"{folder.name}.json")
    known: dict[str, str] = json.loads(record.read_text()) if record.is_file() else {}
    entries = [entry for entry in source.list() if entry.relative not in without]
    if not entries:
        raise NotFoundError(f"there is nothing in {source.uri}")

    def is_here(entry: Entry) -> bool:
        path = folder / entry.relative
        return known.get(entry.relative) == entry.version and path.is_file() and path.stat().st_size == entry.size

    missing = [entry for entry in entries if not is_here(entry)]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        _check_room(folder, sum(entry.size for entry in missing), source)
        log.info("fetching %d files of %s to %s", len(missing), source.uri, folder)
        for_each(lambda entry: _fetch(entry, folder), missing)
    wanted = {entry.relative for entry in entries}
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if str(path.relative_to(folder)) not in wanted:
            path.unlink()
    text = json.dumps({entry.relative: entry.version for entry in entries})
    place_file(record, lambda partial: partial.write_text(text), create_only=False)


def _fetch(entry: Entry, folder: Path) -> None:
    path = folder / entry.relative
    entry.location.download(path)
    if path.stat().st_size != entry.size:
        path.unlink()
        raise DataError(f"{entry.location.uri} changed while it was being fetched; try again when nobody writes to it")


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
