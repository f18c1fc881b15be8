"""`manifest.json`, written last and exactly once, proves that a stage is done; a list of its files is beside it.

A manifest depends only on inputs and options, so two attempts write the same one. Hosts, times and
durations are in `provenance.json`.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from groot_ray.errors import DataError, TemporaryFailureError
from groot_ray.storage.hashes import FileRecord, hash_file, record_files
from groot_ray.storage.location import Location
from groot_ray.storage.store import NotFoundError

__all__ = [
    "FILES",
    "MANIFEST",
    "FileRecord",
    "Manifest",
    "commit_manifest",
    "files_name",
    "generation_name",
    "hash_file",
    "list_of_files",
    "listed_files",
    "read_files",
    "read_manifest",
    "record_files",
    "write_files",
]

FORMAT = 1
MANIFEST = "manifest.json"
FILES = "files.parquet"


class Manifest(BaseModel):
    """A stage's result: its inputs, options, files, and the version that wrote it.

    Attributes:
        key: hash of the stage's inputs and options.
        generation: 1, or higher if the result was regenerated.
        inputs: keys of the stage's inputs.
        options: options in the key.
        files, size: number and bytes of the files in `files.parquet`, whose sha256 is `files_hash`.
    """

    model_config = ConfigDict(extra="ignore")

    format: int = FORMAT
    stage: str
    key: str
    generation: int = 1
    version: str
    made: dict[str, Any] = {}
    inputs: dict[str, Any] = {}
    options: dict[str, Any] = {}
    files: int = 0
    size: int = 0
    files_hash: str | None = None

    @property
    def folder(self) -> str:
        """Name of the stage's folder: the key, followed by the generation from the second on (`<key>.2`)."""
        return generation_name(self.key, self.generation)


def generation_name(key: str, generation: int) -> str:
    """`key` for the first generation, `key.N` for later ones."""
    return key if generation == 1 else f"{key}.{generation}"


def read_manifest(folder: Location, name: str = MANIFEST) -> Manifest | None:
    """The manifest of a folder, or None if there is none.

    Raises:
        DataError: it is corrupt, or was written by a newer version of this package.
    """
    try:
        data = (folder / name).read_json()
    except NotFoundError:
        return None
    try:
        manifest = Manifest.model_validate(data)
    except ValidationError:
        raise DataError(f"{folder.uri}/{name} is not a manifest; remove it to run the stage again") from None
    if manifest.format > FORMAT:
        raise DataError(
            f"{folder.uri}/{name} was written by groot-ray {manifest.version}; install that version or a newer one"
        )
    return manifest


def commit_manifest(folder: Location, manifest: Manifest, name: str = MANIFEST) -> None:
    """Create the manifest; an equal one, written by an attempt that seemed dead, is accepted.

    Raises:
        TemporaryFailureError: another attempt has committed a different one; its result stands.
    """
    if (folder / name).create_json(manifest.model_dump(mode="json")):
        return
    standing = read_manifest(folder, name)
    if standing is None or standing.model_dump() != manifest.model_dump():
        raise TemporaryFailureError(
            f"another attempt has already committed {folder.uri}/{name}; run again to use its result"
        )


def files_name(manifest: str = MANIFEST) -> str:
    """Name of the list of files beside a manifest: `files.parquet`, or `NAME.files.parquet` for `NAME.json`."""
    return FILES if manifest == MANIFEST else f"{manifest.removesuffix('.json')}.{FILES}"


def write_files(folder: Location, files: Iterable[FileRecord], manifest: str = MANIFEST) -> str:
    """Write the list of files (path, size, sha256; in the order of the paths) of a manifest and return its sha256."""
    data = list_of_files(files)
    (folder / files_name(manifest)).write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def list_of_files(files: Iterable[FileRecord]) -> bytes:
    """The content of a list of files; the same for any order of `files`."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    schema = pa.schema([("path", pa.string()), ("size", pa.int64()), ("sha256", pa.string())])
    rows = sorted((asdict(file) for file in files), key=lambda row: row["path"])
    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows, schema), buffer)
    return buffer.getvalue()


def read_files(folder: Location, manifest: str = MANIFEST) -> list[FileRecord]:
    """Read the list of files of a folder's manifest; raises `NotFoundError` if there is no list."""
    return listed_files((folder / files_name(manifest)).read_bytes())


def listed_files(data: bytes) -> list[FileRecord]:
    """The files in the content of a list of files, as `list_of_files` wrote it."""
    import pyarrow.parquet as parquet

    return [FileRecord(**row) for row in parquet.read_table(io.BytesIO(data)).to_pylist()]
