"""Fingerprints of a dataset's files: a plan pins them, so that changes of the source are detected."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from groot_ray.storage.manifest import hash_file

if TYPE_CHECKING:
    from groot_ray.storage import Location


class Fingerprint(NamedTuple):
    """One file: path below the dataset, size in bytes, sha256 of its content in hexadecimal."""

    path: str
    size: int
    sha256: str


def fingerprint(location: Location, path: str) -> Fingerprint:
    """Read one file as a stream and take its fingerprint."""
    return Fingerprint(path, *hash_file(location))


def fingerprints(files: Iterable[tuple[str, Location]], threads: int = 16) -> list[Fingerprint]:
    """Fingerprints of (path, location) pairs, by path, read in parallel threads."""
    from concurrent.futures import ThreadPoolExecutor

    ordered = sorted(files, key=lambda file: file[0])
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda file: fingerprint(file[1], file[0]), ordered))
