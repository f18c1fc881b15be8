"""What a folder of a committed result must hold, from the manifest and the list of files beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from groot_ray.errors import DataError
from groot_ray.storage.location import Location
from groot_ray.storage.manifest import FILES, FileRecord, Manifest, listed_files, read_manifest
from groot_ray.storage.store import NotFoundError
from groot_ray.storage.verify import Damage, DamagedFilesError, Expected, Kind


def expected_files(folder: Location) -> Expected | None:
    """The files of a part of a result, such as `<key>/train`; None if no result lists files of this folder.

    Raises:
        DamagedFilesError: the list of files itself is not the one that the manifest names.
    """
    above = folder.parent
    manifest = _manifest(above)
    if manifest is None or manifest.files_hash is None:
        return None
    files = below(recorded_files(above, manifest), folder.name)
    return Expected(files, _advice(manifest)) if files else None


def below(files: Iterable[FileRecord], folder: str) -> list[FileRecord]:
    """The files in a folder, with their paths below it."""
    prefix = f"{folder}/"
    return [
        FileRecord(file.path.removeprefix(prefix), file.size, file.sha256)
        for file in files
        if file.path.startswith(prefix)
    ]


def _manifest(folder: Location) -> Manifest | None:
    """The manifest of a result; None if another program wrote the file of that name."""
    try:
        return read_manifest(folder)
    except DataError:
        if (folder / FILES).exists():
            raise
        return None


def recorded_files(folder: Location, manifest: Manifest) -> list[FileRecord]:
    """The files of a result, from the list beside its manifest.

    Raises:
        DamagedFilesError: the list is not the one that the manifest names.
    """
    found: Kind = "missing"
    try:
        data = (folder / FILES).read_bytes()
        if hashlib.sha256(data).hexdigest() == manifest.files_hash:
            return listed_files(data)
        found = "bytes"
    except NotFoundError:
        pass
    raise DamagedFilesError(folder, [Damage(FILES, found)], _advice(manifest))


def _advice(manifest: Manifest) -> str:
    return (
        f"run `groot-ray {manifest.stage} --repair` with the same experiment to rebuild damaged files from the source, "
        "or with --force to write a new result"
    )
