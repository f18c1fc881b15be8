"""Sizes and sha256 of files, each read once as a stream."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from groot_ray.storage.local import BLOCK
from groot_ray.storage.location import Location

THREADS = 8


@dataclass(frozen=True)
class FileRecord:
    """A file of a result: path below the result's folder, bytes, sha256 in hexadecimal."""

    path: str
    size: int
    sha256: str


def hash_file(location: Location) -> tuple[int, str]:
    """Size in bytes and sha256 of a file, read as a stream."""
    digest, size = hashlib.sha256(), 0
    with location.open() as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()


def hashing_download(location: Location, path: Path) -> tuple[int, str]:
    """Copy a file to the local `path` atomically; returns the size and sha256 of the bytes that were copied."""
    digest, size = hashlib.sha256(), 0

    def see(block: bytes) -> None:
        nonlocal size
        digest.update(block)
        size += len(block)

    location.download(path, see)
    return size, digest.hexdigest()


def record_files(folder: Location, paths: Iterable[str]) -> list[FileRecord]:
    """Hash the files at `paths` below `folder`; returns their sizes and sha256. Reads each file once."""

    def record(path: str) -> FileRecord:
        size, digest = hash_file(folder / path)
        return FileRecord(path, size, digest)

    with ThreadPoolExecutor(THREADS, "hash") as threads:
        return list(threads.map(record, sorted(paths)))
