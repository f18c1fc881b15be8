"""`status.json`: a stage's progress, written to storage every few seconds, so that following it needs only storage."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from groot_ray.errors import GrootRayError
from groot_ray.progress import Snapshot
from groot_ray.storage.location import Location
from groot_ray.storage.store import NotFoundError

log = logging.getLogger(__name__)

STATUS = "status.json"


class StatusWriter:
    """A progress listener that keeps a stage's `status.json` up to date from its own thread.

    A context manager. Writing never delays the work; a failed write is logged, and the next one replaces it.
    """

    def __init__(self, folder: Location, about: dict[str, Any], interval: float = 3.0) -> None:
        self._target = folder / STATUS
        self._about = about
        self._interval = interval
        self._latest: dict[str, Any] = {"state": "running"}
        self._written: dict[str, Any] | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    def __call__(self, state: Snapshot) -> None:
        """Store a snapshot of the progress; called from the working thread, returns at once."""
        self._latest = {"state": "running", **as_json(state)}

    def __enter__(self) -> StatusWriter:
        self._write()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join(timeout=30)

    def finish(self, state: str, sentence: str = "") -> None:
        """Write the final state, `done`, `failed` or `stopped`, with the reason."""
        self._closing.set()
        self._thread.join(timeout=30)
        self._latest = {**self._latest, "state": state, "sentence": sentence}
        self._write()

    def _run(self) -> None:
        while not self._closing.wait(self._interval):
            self._write()

    def _write(self) -> None:
        latest = self._latest
        if latest is self._written:
            return
        try:
            self._target.write_json({**self._about, **latest, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
            self._written = latest
        except GrootRayError as error:
            log.warning("the status could not be written: %s", error)


def as_json(state: Snapshot) -> dict[str, Any]:
    """A snapshot of progress as plain JSON; NaN and infinities become text."""
    fields = {name: value if _is_plain(value) else str(value) for name, value in state.fields.items()}
    return {
        "work": state.name,
        "done": state.done,
        "total": state.total,
        "unit": state.unit,
        "rate": round(state.rate, 6),
        "remaining": None if state.remaining is None else round(state.remaining, 1),
        "fields": fields,
    }


def read_status(folder: Location) -> dict[str, Any] | None:
    """The last status of a stage, or None if there is none."""
    try:
        status: dict[str, Any] = (folder / STATUS).read_json()
    except NotFoundError:
        return None
    return status


def _is_plain(value: Any) -> bool:
    if isinstance(value, float):
        return value == value and abs(value) != float("inf")
    return value is None or isinstance(value, int | str | bool)
