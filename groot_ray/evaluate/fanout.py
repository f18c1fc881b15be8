"""Evaluation as Ray tasks, one model each, for clusters with GPUs or nodes that the calling process lacks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from groot_ray.errors import GrootRayError
from groot_ray.evaluate.run import Run, run_policy
from groot_ray.ray_session import ensure_ray, growth, has_gpus
from groot_ray.system_errors import explained_system_errors
from groot_ray.versions import check_node

LOOK_SECONDS = 5.0


def is_worthwhile() -> bool:
    """Whether Ray has several nodes, now or by autoscaling, or GPUs that this process does not see."""
    if os.environ.get("RAY_ADDRESS"):
        ensure_ray()
    # A process that has not imported Ray is not connected, and importing it takes seconds.
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return False
    import torch

    alive = [node for node in ray.nodes() if node["Alive"]]
    return len(alive) > 1 or growth().get("pods", 0) > 0 or (has_gpus() and not torch.cuda.is_available())


def run_distributed(
    runs: Sequence[Run], after_each: Callable[[], None], meanwhile: Callable[[], None]
) -> list[dict[str, Any]]:
    """The results of all runs in order, each made by a task of one GPU, where the cluster has any, or of one CPU.

    Args:
        after_each: called when a run has ended.
        meanwhile: called every few seconds; an exception in either ends all tasks.

    Raises:
        GrootRayError: the error of a run, unchanged.
    """
    import ray

    needs = {"num_gpus": 1} if has_gpus() else {"num_cpus": 1}
    task = ray.remote(_run).options(**needs, max_retries=3)
    places = {task.remote(run): place for place, run in enumerate(runs)}
    results: list[dict[str, Any]] = [{} for _ in runs]
    waiting = list(places)
    try:
        while waiting:
            ready, waiting = ray.wait(waiting, num_returns=1, timeout=LOOK_SECONDS)
            meanwhile()
            for reference in ready:
                results[places[reference]] = _fetch(reference)
                after_each()
    finally:
        for reference in waiting:
            ray.cancel(reference)
    return results


def _run(run: Run) -> dict[str, Any]:
    check_node()
    with explained_system_errors():
        return run_policy(run)


def _fetch(reference: Any) -> dict[str, Any]:
    """The result of a task; an error for the user is raised as itself, without Ray's traceback."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, GrootRayError):
            raise error.cause from None
        raise
