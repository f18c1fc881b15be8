"""Reaching the head of a Ray cluster: wait until it answers, then submit once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from groot_ray.cluster.ray.cluster import RayCluster
from groot_ray.cluster.ray.jobs import AlreadySubmittedError, RayJobs
from groot_ray.errors import ConfigurationError, ServiceUnavailableError, TemporaryFailureError

log = logging.getLogger(__name__)

NEWS, REMINDER = 30.0, 300.0  # seconds between two lines about what is waited for: when it changed, when it did not
ASK, ASK_WAITING = (
    2.0,
    5.0,
)  # seconds between two tries to reach a head: one that has a node, one that waits for its turn


def wait_for_ray(ray_cluster: RayCluster, seconds: float, expected_version: str, check: Callable[[], None]) -> RayJobs:
    """Wait until the head answers, and check its Ray version.

    Args:
        seconds: time the head has to answer, counted from when it has a node. Waiting for a node has no limit.
        expected_version: Ray version of this image; empty to accept any.
        check: called before each try; raises when the stage should not continue.

    Raises:
        TemporaryFailureError: no answer within `seconds`.
        ConfigurationError: the cluster runs another Ray version than this image.
    """
    end, said_at, said = time.monotonic() + seconds, float("-inf"), ""
    while True:
        check()
        try:
            jobs = ray_cluster.connect()
            _check_version(jobs.ray_version(), expected_version)
            return jobs
        except ServiceUnavailableError as error:
            trouble = f"waiting for the Ray head: {error}"
        turn = _turn(ray_cluster)
        if turn is not None:
            end, trouble = time.monotonic() + seconds, turn
        elif time.monotonic() >= end:
            raise TemporaryFailureError(f"the Ray head did not answer within {seconds:.0f} s ({trouble})")
        if time.monotonic() - said_at > (REMINDER if trouble == said else NEWS):
            said, said_at = trouble, time.monotonic()
            log.info("%s", trouble)
        time.sleep(ASK if turn is None else ASK_WAITING)


def _check_version(version: str, expected: str) -> None:
    if expected and version != expected:
        raise ConfigurationError(
            f"the Ray cluster runs Ray {version} and this image Ray {expected}; "
            "build both images from one lock (make images)"
        )


def _turn(ray_cluster: RayCluster) -> str | None:
    """What the head waits for, if Kubernetes can be asked now."""
    try:
        return ray_cluster.waits_for()
    except ServiceUnavailableError:
        return None


def submit_patiently(
    jobs: RayJobs,
    submission: str,
    entrypoint: str,
    environment: dict[str, str],
    seconds: float,
    check: Callable[[], None] = lambda: None,
    **runtime: Any,
) -> None:
    """Submit to a head that may have just started. Lost answers are safe: one id starts only once.

    Args:
        seconds: how long to try.
        check: called before each try; raises when the stage should not continue.
        runtime: further keys of the runtime environment.

    Raises:
        AlreadySubmittedError: the id was used before.
        ConfigurationError: Ray refuses the submission for good.
        ServiceUnavailableError: Ray does not take the submission within `seconds`.
    """
    tries = Retrying(
        retry=retry_if_exception_type(ServiceUnavailableError),
        stop=stop_after_delay(seconds),
        wait=wait_fixed(ASK),
        reraise=True,
    )
    for attempt in tries:
        with attempt:
            check()
            try:
                jobs.submit(submission, entrypoint, environment, **runtime)
            except AlreadySubmittedError:
                if attempt.retry_state.attempt_number == 1:
                    raise
                # An earlier try was taken and its answer lost.
