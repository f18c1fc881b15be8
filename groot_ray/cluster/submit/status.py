"""`groot-ray status`: the state of an experiment's stages and of its last submission, from storage and Ray."""

from __future__ import annotations

from typing import Any

from groot_ray.cluster.ray.jobs import RayJobs
from groot_ray.cluster.status.newest import newest_work, stage_names
from groot_ray.cluster.status.progress import progress_line
from groot_ray.cluster.submit.environment import ray_token
from groot_ray.cluster.submit.submissions import Submission, root_of, submissions
from groot_ray.errors import GrootRayError
from groot_ray.experiment.schema import DEFAULT_STORAGE
from groot_ray.storage.lease import AttemptState, last_attempt
from groot_ray.storage.status import read_status


def status(target: str, endpoint: str | None = None, storage: str = DEFAULT_STORAGE) -> str:
    """The state of an experiment's stages and of its last submission, as text; see `root_of` for `target`."""
    root = root_of(target, endpoint, storage)
    lines = [str(root)]
    for stage in stage_names(root):
        folder = newest_work(root, stage)
        if folder is None:
            continue
        last, state = last_attempt(folder), read_status(folder)
        lines.append(f"  {stage:<10} {describe_attempt(last, state)}")
    for sent in submissions(root)[-1:]:
        lines.append(f"  submitted  {sent.id} at {sent.at}: {_ray_state(sent)}")
    if len(lines) == 1:
        lines.append("  nothing has been started yet")
    return "\n".join(lines)


def describe_attempt(last: AttemptState | None, state: dict[str, Any] | None) -> str:
    """One line for the last attempt at a stage."""
    if last is None:
        return "not started"
    if last.ended:
        if last.code == 0:
            return f"done (attempt {last.number})"
        return f"attempt {last.number} ended with code {last.code}: {last.sentence}"
    line = progress_line(state) if state and state.get("attempt") == last.number else "starting"
    if last.alive:
        return f"attempt {last.number} is running: {line}"
    return f"attempt {last.number} has been silent for {last.age:.0f} s; last: {line}"


def _ray_state(sent: Submission) -> str:
    try:
        state = RayJobs(sent.address, ray_token()).state(sent.id)
    except GrootRayError:
        return f"Ray at {sent.address} cannot be reached from here"
    if state is None:
        return "its Ray head was replaced"
    return f"{state.status}{f', {state.message}' if state.message else ''}"
