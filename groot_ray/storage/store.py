"""The protocol of a store of files; `local.LocalStore` and `s3.S3Store` implement it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from groot_ray.errors import DataError

Seen = Callable[[bytes], object]
"""Called with each block of a file while it is copied, in their order."""


class NotFoundError(DataError, FileNotFoundError):
    """There is no such file or object."""


@dataclass(frozen=True)
class Stat:
    """Size in bytes, time of the last write (Unix seconds, on the storage's clock) and a change token.

    `version` (an ETag, or time and size) changes with the file; it is not a fingerprint of its bytes.
    """

    size: int
    modified: float
    version: str


@dataclass(frozen=True)
class Listed:
    """One file of a listing: its path below the listed folder, and the fields of `Stat`."""

    relative: str
    size: int
    modified: float
    version: str


class Store(Protocol):
    """Operations on complete files, named by keys with `/` between their parts.

    Every write is atomic. `create` and `upload(create_only=True)` return False and change nothing if the
    file exists. Reading a missing file raises `NotFoundError`. `clock` is the time on the storage's clock, which
    stamps the files beside `key`, so that ages are right even if the clocks of machines differ. `download` calls `seen`
    with the blocks that it copies.
    """

    def stat(self, key: str) -> Stat | None: ...

    def clock(self, key: str) -> float: ...

    def read(self, key: str) -> bytes: ...

    def open(self, key: str) -> BinaryIO: ...

    def list(self, key: str, recursive: bool) -> Iterator[Listed]: ...

    def folders(self, key: str) -> Iterator[str]: ...

    def write(self, key: str, data: bytes) -> None: ...

    def create(self, key: str, data: bytes) -> bool: ...

    def upload(self, key: str, path: Path, create_only: bool) -> bool: ...

    def download(self, key: str, path: Path, seen: Seen | None = None) -> None: ...

    def copy(self, source: str, target: str) -> None: ...

    def delete(self, key: str) -> None: ...

    def delete_tree(self, key: str) -> None: ...
