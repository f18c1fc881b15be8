"""Logs in storage: the driver's log lines and the files that it follows, sent every ten seconds and at the end.

S3 cannot append, so a log is a sequence of pieces, `logs/attempt-N/NAME.000000.log` and so on. The last piece is
rewritten until it is large enough.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

from groot_ray.errors import GrootRayError
from groot_ray.storage.location import Location

LOGS = "logs"
PIECE = 256 * 1024
FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class LogPieces:
    """One log in storage, kept in pieces of about `PIECE` bytes."""

    def __init__(self, folder: Location, name: str) -> None:
        self._folder = folder
        self._name = name
        self._number = sum(1 for entry in folder.list(recursive=False) if piece_name(entry.relative) == name)
        self._piece = b""

    def add(self, data: bytes) -> None:
        """Append bytes; if this raises, nothing was appended and the caller has to retry."""
        piece = self._piece + data
        (self._folder / f"{self._name}.{self._number:06d}.log").write_bytes(piece)
        self._piece = piece
        if len(piece) >= PIECE:
            self._number += 1
            self._piece = b""


class LogShipper(logging.Handler):
    """A logging handler that sends the lines of this process, and followed files, to storage.

    `folder` is `<stage>/logs/attempt-N`. As a context manager, it attaches to the logger `groot_ray` and sends the rest
    on exit.
    """

    def __init__(self, folder: Location, name: str = "driver", interval: float = 10.0) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter(FORMAT))
        self._folder = folder
        self._name = name
        self._interval = interval
        self._waiting: list[bytes] = []
        self._pieces: dict[str, LogPieces] = {}
        self._watched: list[tuple[Path, str, str]] = []
        self._read: dict[Path, int] = {}
        self._sending = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._waiting.append((self.format(record) + "\n").encode("utf-8", "replace"))
        except Exception:
            self.handleError(record)

    def follow(self, folder: Path, pattern: str = "*", prefix: str = "") -> None:
        """Also send files of `folder` that match `pattern` as they grow, each as the log `prefix` + its name.

        For Ray's worker logs: `follow(Path("/tmp/ray/session_latest/logs"), "worker-*", "node-1-")`.
        """
        self._watched.append((Path(folder), pattern, prefix))

    def __enter__(self) -> LogShipper:
        logging.getLogger("groot_ray").addHandler(self)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("groot_ray").removeHandler(self)
        self._closing.set()
        self._thread.join(timeout=60)
        self.send()

    def send(self) -> None:
        """Send what was logged since the last call; lines that cannot be sent are kept for the next call."""
        with self._sending:
            waiting = self._take()
            if waiting and not self._add(self._name, b"".join(waiting)):
                self._take(back=waiting)
            for folder, pattern, prefix in self._watched:
                for path in sorted(folder.glob(pattern)):
                    self._send_file(path, f"{prefix}{path.stem}")

    def _take(self, back: list[bytes] | None = None) -> list[bytes]:
        """Take the pending lines, or put lines `back` in front of them, under the lock of `emit`."""
        self.acquire()
        try:
            if back is not None:
                self._waiting[:0] = back
                return []
            waiting, self._waiting = self._waiting, []
            return waiting
        finally:
            self.release()

    def _send_file(self, path: Path, name: str) -> None:
        """Send what was added to a file since the last call, piece by piece."""
        try:
            with path.open("rb") as stream:
                stream.seek(self._read.get(path, 0))
                while (data := stream.read(PIECE)) and self._add(name, data):
                    self._read[path] = stream.tell()
        except OSError:
            return

    def _add(self, name: str, data: bytes) -> bool:
        try:
            if name not in self._pieces:
                self._pieces[name] = LogPieces(self._folder, name)
            self._pieces[name].add(data)
        except GrootRayError:  # logging it would only add another line that cannot be sent
            return False
        return True

    def _run(self) -> None:
        while not self._closing.wait(self._interval):
            self.send()


def piece_name(file: str) -> str | None:
    """The log that a piece belongs to; None if the file is not a piece."""
    name, _, number = file.removesuffix(".log").rpartition(".")
    return name if file.endswith(".log") and number.isdigit() else None


def log_names(stage: Location) -> list[tuple[str, str]]:
    """The logs of a stage as (attempt, name), by attempt."""
    found: dict[tuple[str, str], None] = {}
    for entry in (stage / LOGS).list():
        attempt, _, file = entry.relative.partition("/")
        name = piece_name(file)
        if name is not None:
            found[attempt, name] = None
    return sorted(found, key=lambda pair: (_number(pair[0]), pair[1]))


def read_log(stage: Location, attempt: str, name: str) -> Iterator[bytes]:
    """The pieces of a log, in order."""
    for entry in (stage / LOGS / attempt).list(recursive=False):
        if piece_name(entry.relative) == name:
            yield entry.location.read_bytes()


def log_folder(stage: Location, attempt: int) -> Location:
    """Where the logs of an attempt are."""
    return stage / LOGS / f"attempt-{attempt}"


def _number(attempt: str) -> int:
    digits = attempt.rpartition("-")[2]
    return int(digits) if digits.isdigit() else 0
