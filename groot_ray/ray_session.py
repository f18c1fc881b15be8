"""The Ray that this process works with: the cluster it was submitted to, or one of its own."""

from __future__ import annotations

import json
import logging
import os

from groot_ray.errors import ServiceUnavailableError

log = logging.getLogger(__name__)

STARTS = 3
GROWTH = "GROOT_RAY_GROWTH"  # JSON {"pods": n, "gpus": n}: worker pods and GPUs that the cluster can grow to; set by the stage's Job


def growth() -> dict[str, int]:
    """What the Ray cluster that this process was submitted to can grow to, beyond what it has now; empty where nobody said."""
    return json.loads(os.environ.get(GROWTH) or "{}")


def has_gpus() -> bool:
    """Whether the cluster that this process is connected to has GPUs, or brings them when they are asked for."""
    import ray

    return ray.cluster_resources().get("GPU", 0) > 0 or growth().get("gpus", 0) > 0


def ensure_ray(cpus: int | None = None) -> None:
    """Connect to the cluster of RAY_ADDRESS, or start a Ray for this process alone that ends with it; once only.

    Another Ray that happens to run on the machine is left alone. A Ray of its own has `cpus`, all of the machine's when not given.

    Raises:
        ServiceUnavailableError: Ray does not start, or the cluster does not answer.
    """
    # A busy machine needs more than Ray's 30 s to start; read when Ray is imported.
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "180")
    import ray

    logging.getLogger("ray").setLevel(logging.WARNING)
    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS")
    if address:
        try:
            os.environ.setdefault("RAY_COLOR_PREFIX", "0")  # the driver's output becomes a log file
            ray.init(log_to_driver=True, logging_level=logging.WARNING)
        except ConnectionError as error:
            raise ServiceUnavailableError(
                f"the Ray cluster at {address} does not answer ({error}); try again"
            ) from error
        return
    for start in range(1, STARTS + 1):
        try:
            # What tasks and workers have to say comes back as values; the rest is Ray's own, kept in its session folder.
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
            return
        except Exception as error:  # Ray has no class of its own for a start that took too long
            ray.shutdown()
            if "timed out during startup" not in str(error):
                raise
            if start == STARTS:
                raise ServiceUnavailableError(
                    f"Ray did not start in {STARTS} attempts ({error}) The machine may be too busy: try again"
                ) from error
            log.warning("Ray was too slow to start on this machine; starting it again")
