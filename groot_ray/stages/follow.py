"""Runs a block under an attempt: heartbeat, status, logs, and a record of how it ended."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from groot_ray.errors import StoppedError, TemporaryFailureError
from groot_ray.stages.base import Context
from groot_ray.stages.work import Work
from groot_ray.storage import Location
from groot_ray.storage.lease import Attempt, outcome_of
from groot_ray.storage.logs import LogShipper, log_folder
from groot_ray.storage.status import StatusWriter

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
        sigterm_as_error(),
    ):
        try:
            yield Context(work, output, attempt, [status], force)
        except BaseException as error:
            code, sentence = outcome_of(error)
            log.error("%s: attempt %d failed: %s", stage, attempt.number, sentence)
            status.finish("stopped" if code == StoppedError.exit_code else "failed", sentence)
            raise
        status.finish("done")


@contextmanager
def sigterm_as_error() -> Iterator[None]:
    """Context manager that raises an error on SIGTERM, so that the attempt's end is recorded."""

    def raise_error(number: int, frame: FrameType | None) -> None:
        raise TemporaryFailureError("this process was terminated (SIGTERM); run it again to continue")

    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, raise_error)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is raise_error:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
