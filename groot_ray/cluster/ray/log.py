"""Follows a driver's log through Ray's job API.

The API always sends the whole log as one JSON string. It is read as a stream, and what was printed before is skipped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from groot_ray.cluster.ray.jobs import RayJobs
from groot_ray.errors import ServiceUnavailableError

log = logging.getLogger(__name__)

SHARE = 0.05  # share of the time spent reading a log, which the head sends from its beginning each time
LONGEST = 30.0  # seconds between two reads, however long the log is
LAST_TRIES, LAST_PAUSE = 4, 2.0  # for the last read, which has the reason of a failure; seconds between tries


class FollowedLog:
    """The log of one submission: each `read` passes what is new to `say`, piece by piece."""

    def __init__(self, submission: str, say: Callable[[str], object]) -> None:
        self.submission = submission
        self.said = 0  # characters
        self._say = say
        self._next = 0.0
        self._trouble = ""

    def read(self, jobs: RayJobs, last: bool = False) -> None:
        """Read on. A long log is read less often, except the `last` time. An unreadable log only gives a warning."""
        if time.monotonic() < self._next and not last:
            return
        tries = Retrying(
            retry=retry_if_exception_type(ServiceUnavailableError),
            stop=stop_after_attempt(LAST_TRIES if last else 1),
            wait=wait_fixed(LAST_PAUSE),
            after=self._warn,
            retry_error_callback=lambda state: None,
        )
        took = tries(self._read_new, jobs)
        if took is not None:
            self._next = time.monotonic() + min(took * (1 / SHARE - 1), LONGEST)

    def _warn(self, state: RetryCallState) -> None:
        """Log why the log cannot be read, once per reason."""
        trouble = str(state.outcome.exception()) if state.outcome is not None else ""
        if trouble != self._trouble:
            self._trouble = trouble
            log.warning("the driver's log cannot be read now: %s", trouble)

    def _read_new(self, jobs: RayJobs) -> float | None:
        """Pass on what is new; returns the seconds of its transfer, without those spent in `say`."""
        pieces, took = jobs.log(self.submission, self.said), 0.0
        while True:
            begun = time.monotonic()
            piece = next(pieces, None)
            took += time.monotonic() - begun
            if piece is None:
                return took
            self.said += len(piece)
            self._say(piece)
