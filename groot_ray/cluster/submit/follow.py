"""Follows a submission in the terminal until it ends."""

from __future__ import annotations

import logging
import sys
import time

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from groot_ray.cluster.ray.jobs import JobState, RayJobs
from groot_ray.cluster.ray.log import FollowedLog
from groot_ray.cluster.submit.bar import Bar
from groot_ray.errors import GrootRayError, ServiceUnavailableError, StoppedError, TemporaryFailureError
from groot_ray.storage.location import Location

log = logging.getLogger(__name__)

PATIENCE = 600.0  # seconds without an answer after which following ends; the job itself continues


def follow_submission(jobs: RayJobs, submission: str, root: Location | None) -> None:
    """Print what a submission prints until it ends, across lost connections.

    Args:
        jobs: the job API of its cluster.
        submission: its id.
        root: the experiment's folder, to show progress from; None if this machine cannot read it.

    Raises:
        TemporaryFailureError: the Ray head was replaced, or did not answer for ten minutes.
        GrootRayError: it failed, with its exit code.
    """
    bar = Bar(root) if root is not None and sys.stderr.isatty() else None
    try:
        _judge(submission, _wait_for_end(jobs, submission, bar))
    except KeyboardInterrupt:
        print(f"\n{submission} continues; see groot-ray status, logs and stop", file=sys.stderr)
        raise StoppedError("no longer following; the job continues") from None
    finally:
        if bar:
            bar.close()


def _wait_for_end(jobs: RayJobs, submission: str, bar: Bar | None) -> JobState:
    """Print until the end of a submission; returns its final state."""
    printed = FollowedLog(submission, bar.say if bar else _say)
    while True:
        state = _observe(jobs, submission, printed)
        if state is None:
            raise TemporaryFailureError(
                f"the Ray head was replaced and no longer knows {submission}; submit again: "
                "it resumes from what is in storage"
            )
        if bar:
            bar.update()
        if state.finished:
            return state
        time.sleep(1 if bar else 2)


def _observe(jobs: RayJobs, submission: str, printed: FollowedLog) -> JobState | None:
    """Print what a submission has logged; returns its state, None if its head does not know it.

    Raises:
        TemporaryFailureError: the connection was lost for `PATIENCE`.
    """

    def read() -> JobState | None:
        state = jobs.state(submission)
        if state is not None:
            printed.read(jobs, last=state.finished)
        return state

    tries = Retrying(
        retry=retry_if_exception_type(ServiceUnavailableError),
        wait=wait_fixed(3),
        stop=stop_after_delay(PATIENCE),
        before_sleep=_warn,
        reraise=True,
    )
    try:
        return tries(read)
    except ServiceUnavailableError as error:
        raise TemporaryFailureError(
            f"{error}; the job continues without this terminal: groot-ray status and groot-ray logs read storage"
        ) from None


def _warn(tries: RetryCallState) -> None:
    error = tries.outcome.exception() if tries.outcome is not None else None
    log.warning("the connection is lost (%s); the job continues, trying again", error)


def _say(text: str) -> None:
    print(text, end="", flush=True)


def _judge(submission: str, state: JobState) -> None:
    """Print that a submission is done, or raise its failure."""
    if state.status == "SUCCEEDED":
        print(f"{submission} is done")
        return
    error = GrootRayError(f"{submission} has {state.status.lower()}: {state.message or 'see its log above'}")
    if state.status == "STOPPED":
        error.exit_code = StoppedError.exit_code
    else:
        error.exit_code = state.exit_code if state.exit_code is not None and state.exit_code > 0 else 1
    raise error
