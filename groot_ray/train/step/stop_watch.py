"""Requests to stop, found by a thread, so that the loop need not wait for storage."""

from __future__ import annotations

import logging
import threading

from groot_ray.errors import StoppedError
from groot_ray.train.checkpoints.run_folder import RunFolder
from groot_ray.train.checkpoints.saver import Lease

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0


class StopWatch:
    """Looks into storage every few seconds whether a person wants the run to stop."""

    def __init__(self, run: RunFolder, lease: Lease, seconds: float = POLL_SECONDS) -> None:
        self._run = run
        self._lease = lease
        self._seconds = seconds
        self._closing = threading.Event()
        self._asked = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stop-watch", daemon=True)
        self._thread.start()

    def asked(self) -> bool:
        """Whether the run is to stop."""
        return self._asked.is_set()

    def close(self) -> None:
        self._closing.set()
        self._thread.join(timeout=10)

    def _watch(self) -> None:
        while not self._closing.wait(self._seconds) and not self._asked.is_set():
            try:
                self._lease.check()
                if self._run.stop_requested():
                    self._asked.set()
            except StoppedError:
                self._asked.set()
            except Exception as error:  # storage that does not answer now, or a lost lease, which the next commit finds
                log.debug("looking for a stop request: %s", error)
