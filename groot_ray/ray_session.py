"""This process's Ray: the cluster that it was submitted to, or a local one that ends with the process."""

from __future__ import annotations

import json
import logging
import os

from groot_ray.errors import ServiceUnavailableError

log = logging.getLogger(__name__)

STARTS = 3
TOKEN_LOGGER = "ray._private.authentication.authentication_token_setup"
# JSON {"pods": n, "gpus": n}: worker pods and GPUs that the cluster can add; set by the stage's Job.
GROWTH = "GROOT_RAY_GROWTH"


def growth() -> dict[str, int]:
    """Number of pods and GPUs that the Ray cluster can still add; empty if unknown."""
    found: dict[str, int] = json.loads(os.environ.get(GROWTH) or "{}")
    return found


def has_gpus() -> bool:
    """Whether the connected cluster has GPUs or can add some."""
    import ray

    return bool(ray.cluster_resources().get("GPU", 0) > 0 or growth().get("gpus", 0) > 0)


def ensure_ray(cpus: int | None = None) -> None:
    """Connect to the cluster at RAY_ADDRESS, or start a local Ray for this process; once only.

    Other Ray clusters on this machine are not used. A local Ray has `cpus` CPUs, by default all of the machine.

    Raises:
        ServiceUnavailableError: Ray does not start, or the cluster does not answer.
    """
    # On a busy machine Ray needs more than its default 30 s to start; the variable is read on import.
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "180")
    import ray

    logging.getLogger("ray").setLevel(logging.WARNING)
    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS")
    if address:
        _connect(address)
    else:
        _start(cpus)


def _connect(address: str) -> None:
    import ray

    try:
        os.environ.setdefault("RAY_COLOR_PREFIX", "0")  # the driver's output becomes a log file
        ray.init(log_to_driver=True, logging_level=logging.WARNING)
    except ConnectionError as error:
        raise ServiceUnavailableError(f"the Ray cluster at {address} does not answer ({error}); try again") from error


def _start(cpus: int | None) -> None:
    import ray

    # Ray protects a local cluster with a token and warns about it at each start. No action is needed: the token is
    # created in ~/.ray, where both ends find it. RAY_AUTH_MODE can still change this.
    logging.getLogger(TOKEN_LOGGER).setLevel(logging.ERROR)
    for start in range(1, STARTS + 1):
        try:
            # Tasks and workers return results as values; Ray's own output stays in its session folder.
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
            return
        except Exception as error:  # Ray has no specific error for a start that took too long
            ray.shutdown()
            if "timed out during startup" not in str(error):
                raise
            if start == STARTS:
                raise ServiceUnavailableError(
                    f"Ray did not start in {STARTS} attempts ({error}); the machine may be too busy, try again"
                ) from error
            log.warning("Ray took too long to start on this machine; trying again")
