"""Polls for stop requests in a thread, so that the loop never waits for storage."""

from __future__ import annotations

import logging
import threading

from groot_ray.errors import StoppedError
from groot_ray.storage.lease import Lease
from groot_ray.train.checkpoints.run_folder import RunFolder

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0


class StopWatch:
    """Checks storage every few seconds for a request to stop."""

    def __init__(self, run: RunFolder, lease: Lease, seconds: float = POLL_SECONDS) -> None:
        self._run = run
        self._lease = lease
        self._seconds = seconds
        self._closing = threading.Event()
        self._asked = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stop-watch", daemon=True)
        self._thread.start()

    def asked(self) -> bool:
        """Whether a stop was requested."""
        return self._asked.is_set()

    def close(self) -> None:
        """Stop the thread."""
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
            except Exception as error:  # storage is unavailable, or the lease is lost, which the next commit detects
                log.debug("cannot check for a stop request: %s", error)
