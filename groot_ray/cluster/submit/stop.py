"""`groot-ray stop`: let the running stage save a checkpoint, then stop it."""

from __future__ import annotations

from groot_ray.cluster.job.stopping import stop_and_wait
from groot_ray.cluster.ray.jobs import RayJobs
from groot_ray.cluster.status.newest import newest_work, stage_names
from groot_ray.cluster.submit.environment import ray_token
from groot_ray.cluster.submit.submissions import Submission, root_of, submissions
from groot_ray.errors import GrootRayError
from groot_ray.experiment.schema import DEFAULT_STORAGE
from groot_ray.experiment.stages import check_stage_names
from groot_ray.storage.store import NotFoundError


def stop(
    target: str,
    stage: str | None = None,
    wait: float = 300.0,
    endpoint: str | None = None,
    storage: str = DEFAULT_STORAGE,
) -> str:
    """Ask running attempts to save and stop, wait for that, then stop the Ray job of the last submission.

    Args:
        target: see `root_of`.
        stage: this stage only; default all.
        wait: seconds to wait for the checkpoint.

    Returns:
        what happened, for people.
    """
    check_stage_names([stage] if stage else [])
    root = root_of(target, endpoint, storage)
    said = []
    for name in [stage] if stage else stage_names(root):
        folder = newest_work(root, name)
        last = None if folder is None else stop_and_wait(folder, wait, poll=2)
        if last is not None:
            stopped = last.sentence or "stopped"
            said.append(f"{name}: {stopped}" if last.ended else f"{name}: did not stop within {wait:.0f} s")
    for sent in submissions(root)[-1:]:
        said += _stop_ray_job(sent)
    return "\n".join(said) if said else "nothing is running"


def _stop_ray_job(sent: Submission) -> list[str]:
    """Stop the Ray job of a submission, if it runs."""
    try:
        jobs = RayJobs(sent.address, ray_token())
        state = jobs.state(sent.id)
        if state is None or state.finished:
            return []
        jobs.stop(sent.id)
        return [f"{sent.id}: stopped at {sent.address}"]
    except (GrootRayError, NotFoundError) as error:
        return [f"{sent.id}: {error}"]
