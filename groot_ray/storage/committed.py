"""A folder whose manifest lists its own files, as a checkpoint's does: compares them before anything is loaded.

Sizes come first, from one listing, so that a truncated file is rejected at once. The bytes that will be loaded are then
hashed, on this machine. Folders without a manifest, such as other programs' checkpoints, are taken as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from groot_ray.errors import DataError, GrootRayError, TemporaryFailureError
from groot_ray.storage.hashes import THREADS, FileRecord, hash_file
from groot_ray.storage.location import Location, open_location
from groot_ray.storage.manifest import MANIFEST, read_manifest
from groot_ray.storage.store import NotFoundError
from groot_ray.storage.tree import mirror

ADVICE = "restore it from a copy, or use another checkpoint"
WEIGHTS = (".safetensors", ".safetensors.index.json")  # an unlisted one of these could replace the checkpoint's own
_OWN = {"stage", "key", "made"}  # another program's manifest.json has at most one of these


def own_files(folder: Location) -> list[FileRecord] | None:
    """The files that a folder's own manifest lists; None if it has no manifest, or one of another program.

    Raises:
        DataError: the manifest is broken.
    """
    try:
        content = (folder / MANIFEST).read_json()
    except NotFoundError:
        return None
    if not isinstance(content, dict) or len(_OWN & content.keys()) < 2:
        return None
    manifest = read_manifest(folder)
    if manifest is None:
        return None
    try:
        files = [FileRecord(**file) for file in manifest.made.get("files", ())]
    except TypeError:
        files = []
    if not files or len(files) != manifest.files:
        raise DataError(f"{folder.uri}/{MANIFEST} does not list all files of its folder; {ADVICE}")
    return files


def listing_fault(folder: Location, files: Collection[FileRecord], without: Collection[str] = ()) -> str | None:
    """Compare a folder's listing with `files`: what is missing, of another size, or foreign, as the start of a
    sentence; None if nothing is.

    Args:
        without: paths that need not exist.
    """
    present = {entry.relative: entry.size for entry in folder.list()}
    for file in files:
        size = present.get(file.path)
        if size is None and file.path not in without:
            return f"{folder.uri}/{file.path} is missing"
        if size is not None and size != file.size:
            return f"{folder.uri}/{file.path} is damaged: it has {size:,} bytes instead of {file.size:,}"
    listed = {file.path for file in files}
    foreign = next((path for path in present if path.endswith(WEIGHTS) and path not in listed), None)
    return None if foreign is None else f"{folder.uri}/{foreign} is not in the manifest of its folder"


def changed_files(folder: Path, files: Collection[FileRecord]) -> list[FileRecord]:
    """Those of `files` whose bytes below the local `folder` differ from their sha256; hashes in a few threads."""
    local = open_location(folder)

    def is_changed(file: FileRecord) -> bool:
        return hash_file(local / file.path) != (file.size, file.sha256)

    with ThreadPoolExecutor(THREADS, "hash") as threads:
        return [file for file, changed in zip(files, threads.map(is_changed, files), strict=True) if changed]


def checked_mirror(source: Location, cache: Path, without: frozenset[str] = frozenset()) -> Path:
    """`mirror` of a folder whose files equal its manifest.

    A damaged local copy of an object is fetched again.

    Args:
        without: paths that are not used; they may be missing.

    Raises:
        DataError: a file is damaged, missing or foreign; the message names it.
        TemporaryFailureError: the folder was removed meanwhile.
    """
    files = own_files(source)
    if files is None:
        return mirror(source, cache, without)
    with unless_removed(source):
        fault, folder = find_fault(source, files, cache, without)
        if fault is not None:
            raise DataError(f"{fault}; {ADVICE}")
    assert folder is not None
    return folder


def find_fault(
    source: Location, files: Collection[FileRecord], cache: Path, without: frozenset[str] = frozenset()
) -> tuple[str | None, Path | None]:
    """The first fault of a folder as the start of a sentence, and the folder's local mirror if there is none."""
    fault = listing_fault(source, files, without)
    if fault is not None:
        return fault, None
    wanted = [file for file in files if file.path not in without]
    folder = mirror(source, cache, without)
    changed = changed_files(folder, wanted)
    if changed and not source.is_local:
        for file in changed:
            (folder / file.path).unlink(missing_ok=True)
        folder = mirror(source, cache, without)
        changed = changed_files(folder, changed)
    if changed:
        return f"{source.uri}/{changed[0].path} is damaged: its sha256 differs from {MANIFEST}", None
    return None, folder


@contextmanager
def unless_removed(folder: Location) -> Iterator[None]:
    """Context manager for reading a folder that has a manifest: errors because it was removed are temporary ones.

    A folder's manifest is the first file that a removal deletes.
    """
    try:
        yield
    except (GrootRayError, OSError):
        if (folder / MANIFEST).exists():
            raise
        raise removed(folder) from None


def removed(folder: Location) -> TemporaryFailureError:
    """The error for a checkpoint that its run removed while it was being read."""
    return TemporaryFailureError(
        f"{folder.uri} was removed while it was being read, as superseded checkpoints are; run again to use those that "
        "exist now, and list steps in training.keep_steps to keep them"
    )
