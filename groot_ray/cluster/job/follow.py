"""Follows a submitted attempt to its end, printing what its driver prints."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from groot_ray.cluster.job.deadline import Deadline
from groot_ray.cluster.job.observer import patiently
from groot_ray.cluster.ray.cluster import RayCluster
from groot_ray.cluster.ray.jobs import JobState, RayJobs
from groot_ray.cluster.ray.log import FollowedLog
from groot_ray.errors import GrootRayError, ServiceUnavailableError, StoppedError, TemporaryFailureError
from groot_ray.experiment.document import Document
from groot_ray.stages.state import inspect_stage
from groot_ray.storage.lease import AttemptState, end_attempt, last_attempt
from groot_ray.storage.location import Location

log = logging.getLogger(__name__)

LOST_AFTER = 150.0  # seconds without an answer from a Ray head after which its job counts as lost
RAY_JOB = "Ray job %s is %s"  # logged when a submission's state changes; `cluster status` reads it in the Job's log


@dataclass
class Follower:
    """Follows attempts at `stage` on `ray_cluster`; `poll` is the seconds between two looks."""

    document: Document
    stage: str
    ray_cluster: RayCluster
    deadline: Deadline
    poll: float

    def follow(self, folder: Location, number: int, jobs: RayJobs, submission: str) -> None:
        """Wait for the end of attempt `number` at the stage in `folder`.

        Raises:
            GrootRayError: the attempt failed; the exit code is the driver's.
        """
        silent_since, said = None, ""
        printed = FollowedLog(submission, lambda text: print(text, end="", flush=True))
        while True:
            try:
                state = jobs.state(submission)
                if state is not None:
                    if state.status != said:
                        said = state.status
                        log.info(RAY_JOB, submission, said)
                    printed.read(jobs, last=state.finished)
                silent_since = None
            except ServiceUnavailableError as error:
                silent_since = silent_since or time.monotonic()
                if time.monotonic() - silent_since < LOST_AFTER and self._cluster_exists():
                    time.sleep(self.poll)
                    jobs = self.reconnected(jobs)
                    continue
                raise self._lost(folder, number, str(error)) from None
            if state is None:
                raise self._lost(folder, number, "its head was replaced")
            if state.finished:
                self._finish(folder, number, state)
                return
            self.deadline.check(folder)
            time.sleep(self.poll)

    def reconnected(self, jobs: RayJobs) -> RayJobs:
        """A new connection, since a replaced head may have another token; the old one if there is none."""
        try:
            return self.ray_cluster.connect()
        except GrootRayError:
            return jobs

    def _cluster_exists(self) -> bool:
        """Whether the Ray cluster exists, if Kubernetes can be asked now."""
        try:
            return self.ray_cluster.digest() is not None
        except ServiceUnavailableError:
            return True

    def _finish(self, folder: Location, number: int, state: JobState) -> None:
        """Return if the stage is done; else record the attempt's end and raise."""
        in_storage = patiently(lambda: inspect_stage(self.document, self.stage), self.poll, log.warning)
        if in_storage.done:
            log.info("%s is done%s: %s", self.stage, "" if state.status == "SUCCEEDED" else " nevertheless", folder)
            return
        recorded = last_attempt(folder)
        raise self._ended(
            folder, number, *failed_how(state, recorded if recorded and recorded.number == number else None)
        )

    def _lost(self, folder: Location, number: int, trouble: str) -> GrootRayError:
        sentence = f"the Ray cluster of attempt {number} was lost: {trouble}"
        return self._ended(folder, number, TemporaryFailureError.exit_code, sentence)

    def _ended(self, folder: Location, number: int, code: int, sentence: str) -> GrootRayError:
        """Record the end of an attempt, unless it has one, and make the error to raise."""
        state = last_attempt(folder)
        if state is not None and state.number == number and not state.ended:
            end_attempt(folder, state, code, sentence)
        return failure(code, f"{self.stage}, attempt {number}: {sentence}")


def failed_how(state: JobState, attempt: AttemptState | None) -> tuple[int, str]:
    """Exit code and sentence of an attempt that ended without a manifest.

    Args:
        state: final state of its Ray job.
        attempt: its record in storage, which its driver knows better than Ray.
    """
    if attempt is not None and attempt.ended and attempt.code is not None:
        code, sentence = attempt.code, attempt.sentence
    elif state.status == "STOPPED":
        code, sentence = StoppedError.exit_code, "the Ray job was stopped"
    else:
        positive = state.exit_code is not None and state.exit_code > 0
        code = state.exit_code if state.exit_code is not None and positive else TemporaryFailureError.exit_code
        sentence = state.message or "its driver ended without a message"
    return (code, sentence) if code else (1, "the driver ended without its manifest")


def failure(code: int, sentence: str) -> GrootRayError:
    """An error with the exit code of a driver elsewhere."""
    error = GrootRayError(sentence)
    error.exit_code = code
    return error
