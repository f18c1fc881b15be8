"""How a request to save and stop reaches the workers, and what happens to workers that do not end in time."""

from __future__ import annotations

import logging
import os
import threading
from typing import Protocol

from groot_ray.errors import GrootRayError, TemporaryFailureError
from groot_ray.ray_session import end_local_ray
from groot_ray.storage.lease import Lease
from groot_ray.termination import abandon
from groot_ray.train.checkpoints.run_folder import RunFolder

log = logging.getLogger(__name__)

JOIN_SECONDS = 3.0


def grace() -> float:
    """Seconds after SIGTERM within which a checkpoint is saved (GROOT_RAY_GRACE, 20)."""
    return float(os.environ.get("GROOT_RAY_GRACE", "20"))


class StopWish(Protocol):
    """Asks the workers to save and stop."""

    def ask(self) -> None:
        """Ask."""
        ...

    def abandon(self, training: threading.Thread) -> None:
        """End the workers, or at least take away their right to commit anything."""
        ...


class StopWorkers:
    """For workers in other processes: through the run's folder, which their first worker watches."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run

    def ask(self) -> None:
        """See `StopWish`."""
        try:
            self._run.request_stop()
        except GrootRayError as error:
            log.warning("the workers could not be asked to stop: %s", error)

    def abandon(self, training: threading.Thread) -> None:
        """See `StopWish`."""
        end_local_ray()
        training.join(JOIN_SECONDS)
        abandon(training)


class StopHere:
    """For training in this process. It is also the training's lease, which ends with `abandon`."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._asked = threading.Event()
        self._revoked = threading.Event()

    def asked(self) -> bool:
        """Whether to save and stop."""
        return self._asked.is_set()

    def ask(self) -> None:
        """See `StopWish`."""
        self._asked.set()

    def check(self) -> None:
        """See `Lease`."""
        if self._revoked.is_set():
            raise TemporaryFailureError("this process is ending, so nothing more is committed")
        self._lease.check()

    def abandon(self, training: threading.Thread) -> None:
        """See `StopWish`."""
        self._revoked.set()
        end_local_ray()  # of an earlier stage
        training.join(JOIN_SECONDS)
        abandon(training)
