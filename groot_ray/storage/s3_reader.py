"""An object in S3 as a seekable file."""

from __future__ import annotations

import io
from typing import Any, Protocol

from groot_ray.storage.store import Stat


class RangeReader(Protocol):
    """Reads a part of an object; `S3Store` does."""

    def read_range(self, key: str, first: int, length: int, version: str) -> bytes: ...


class ObjectReader(io.RawIOBase):
    """A seekable reader of one object by ranged requests; wrap it in a buffer."""

    def __init__(self, store: RangeReader, key: str, found: Stat) -> None:
        self._store = store
        self._key = key
        self._found = found
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._found.size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self._found.size - self._position)
        if length <= 0:
            return 0
        data = self._store.read_range(self._key, self._position, length, self._found.version)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
