"""Runs a block under an attempt: heartbeat, status, logs, and a record of how it ended."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from groot_ray.errors import StoppedError
from groot_ray.ray_session import explained_ray_errors
from groot_ray.stages.base import Context
from groot_ray.stages.work import Work
from groot_ray.storage import Location
from groot_ray.storage.lease import Attempt, outcome_of
from groot_ray.storage.logs import LogShipper, log_folder
from groot_ray.storage.status import StatusWriter
from groot_ray.system_errors import explained_system_errors
from groot_ray.termination import signals_as_errors

log = logging.getLogger(__name__)


@contextmanager
def followed(
    work: Work, stage: str, output: Location, attempt: Attempt, *, force: bool, about: dict[str, object] | None = None
) -> Iterator[Context]:
    """Run a stage's function under its attempt. Logs and status, with `about`, go to the attempt's folder."""
    folder = attempt.folder
    status_fields = {"stage": stage, **(about or {}), "attempt": attempt.number}
    with (
        attempt,
        LogShipper(log_folder(folder, attempt.number)),
        StatusWriter(folder, status_fields) as status,
        signals_as_errors(signal.SIGTERM),
    ):
        try:
            with explained_system_errors(), explained_ray_errors():
                yield Context(work, output, attempt, [status], force)
        except BaseException as error:
            code, sentence = outcome_of(error)
            log.error("%s: attempt %d failed: %s", stage, attempt.number, sentence)
            status.finish("stopped" if code == StoppedError.exit_code else "failed", sentence)
            raise
        status.finish("done")
