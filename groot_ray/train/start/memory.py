"""Whether the machines of a run have the memory that its batches and weights need, before any of it is allocated."""

from __future__ import annotations

import os

from groot_ray.errors import DataError
from groot_ray.experiment.memory import check_memory
from groot_ray.machine_memory import memory_limit
from groot_ray.storage import Location, NotFoundError
from groot_ray.train.plan import FinetunePlan


def check_this_machine(plan: FinetunePlan) -> None:
    """Check a run whose workers are all on this machine; a run on a Ray cluster elsewhere is not checked.

    Raises:
        ConfigurationError: it cannot fit.
    """
    least = plan.training.workers[0]
    if least == 0 or not os.environ.get("RAY_ADDRESS"):
        check_worker(plan, max(1, least))


def check_worker(plan: FinetunePlan, here: int = 1) -> None:
    """Check `here` workers on this machine; raises `ConfigurationError`."""
    check_memory(plan.model, plan.training, views(plan.dataset), here, memory_limit(), "this machine")


def views(dataset: Location) -> int:
    """Cameras of a dataset in GR00T's layout; 1 if its modality.json does not say."""
    try:
        modality = (dataset / "meta/modality.json").read_json()
    except (NotFoundError, DataError):
        return 1
    video = modality.get("video") if isinstance(modality, dict) else None
    return max(1, len(video)) if isinstance(video, dict) else 1
