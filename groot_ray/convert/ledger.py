"""The ledger of finished episodes: numbered, immutable parquet segments; new ones are only appended.

A run that resumes after a crash reads it and converts the rest; finished episodes that it does not list are found by
their files.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from groot_ray.errors import TemporaryFailureError

if TYPE_CHECKING:
    from groot_ray.storage import Location


@dataclass(frozen=True)
class File:
    """A written file: its path in the part, its size in bytes, its sha256 in hexadecimal."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Entry:
    """The outcome of one source episode: its files, or why it is broken."""

    part: str
    index: int
    source_index: int
    frames: int = 0
    files: tuple[File, ...] = ()
    error: str = ""


class Ledger:
    """Segments ``000000.parquet``, ``000001.parquet`` ... below `location`, written by the holder of the lease only."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self._next = 0

    def read(self) -> list[Entry]:
        """All entries in the order in which they were added; an episode listed twice counts once."""
        import pyarrow.parquet as pq

        found: dict[int, Entry] = {}
        for listed in self.location.list(recursive=False):
            if not listed.relative.endswith(".parquet"):
                continue
            self._next = max(self._next, int(listed.relative.removesuffix(".parquet")) + 1)
            for row in pq.read_table(io.BytesIO(listed.location.read_bytes())).to_pylist():
                row["files"] = tuple(File(**file) for file in row["files"])
                found.setdefault(row["source_index"], Entry(**row))
        return list(found.values())

    def append(self, entries: Sequence[Entry]) -> None:
        """Add a segment; raises `TemporaryFailureError` if another run has written one meanwhile."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not entries:
            return
        file = pa.struct([("path", pa.string()), ("size", pa.int64()), ("sha256", pa.string())])
        schema = pa.schema(
            [
                ("part", pa.string()),
                ("index", pa.int64()),
                ("source_index", pa.int64()),
                ("frames", pa.int64()),
                ("files", pa.list_(file)),
                ("error", pa.string()),
            ]
        )
        rows: list[dict[str, Any]] = [asdict(entry) for entry in entries]
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema), buffer)
        segment = self.location / f"{self._next:06d}.parquet"
        if not segment.create_bytes(buffer.getvalue()):
            raise TemporaryFailureError(f"another conversion is writing to {self.location.uri}; this one stops")
        self._next += 1
