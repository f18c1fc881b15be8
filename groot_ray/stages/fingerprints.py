"""Fingerprints of files (path, size, sha256), kept in a listing beside the pin that names it.

Files are read once; a file whose size and change token equal those of an earlier listing is not read again.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from groot_ray.progress import progress
from groot_ray.stages.place import PLAN
from groot_ray.storage import Entry, Location
from groot_ray.storage.manifest import hash_file

THREADS = 16


@dataclass(frozen=True)
class Fingerprinted:
    """A pinned file: path, bytes, sha256, and its change token when it was read."""

    path: str
    size: int
    sha256: str
    version: str


def fingerprint(files: Iterable[Entry], known: Iterable[Fingerprinted], title: str) -> list[Fingerprinted]:
    """Fingerprint `files`, by path; files that are `known` with the same size and change token are not read."""
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
    """Read a listing that a pin names; empty if there is none."""
    if name is None or not (root / PLAN / name).exists():
        return []
    import pyarrow.parquet as parquet

    table = parquet.read_table(io.BytesIO((root / PLAN / name).read_bytes()))
    return [Fingerprinted(**row) for row in table.to_pylist()]


def write_listing(root: Location, name: str, files: list[Fingerprinted]) -> None:
    """Write a listing beside its pin. Change tokens are only hints, so a listing of equal content may be replaced."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    columns = {field: [getattr(file, field) for file in files] for field in ("path", "size", "sha256", "version")}
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer)
    (root / PLAN / name).write_bytes(buffer.getvalue())
