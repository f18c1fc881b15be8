"""What a stage's Job does next: a pure function of the state in storage and in Kubernetes.

The executor (`StageJob`) looks, asks `next_action`, performs the action and looks again. A new rule is a field of
`View` or `ClusterView`, a line in `next_action`, and rows in tests/cluster/test_next_action.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from groot_ray.cluster.job.record import DIGEST, MODE, RELEASE
from groot_ray.errors import ConfigurationError, ServiceUnavailableError, TemporaryFailureError
from groot_ray.stages.state import StageState
from groot_ray.storage.lease import AttemptState


@dataclass(frozen=True)
class View:
    """The stage and the release, as this Job sees them.

    Attributes:
        stage: state of the stage in storage.
        release: short name of the release.
        digest: version of the release that this Job belongs to.
        mode: where this version of the release runs Ray: `kuberay`, `static` or `external`.
        at_plan: the attempt is stored beside the plan and is running. It began before the stage's key was known.
        lost_inputs: why the stage's inputs will never exist, as a sentence; empty if they may.
    """

    stage: StageState
    release: str
    digest: str
    mode: str
    at_plan: bool = False
    lost_inputs: str = ""


@dataclass(frozen=True)
class ClusterView:
    """The stage's Ray cluster, and those that earlier versions of the release left.

    Attributes:
        digest: version of the release that the running Ray cluster belongs to; None if none is running.
        head_waits_for: why its head has no node (a queue, a quota, full nodes); None if it has one. Not looked at
            unless an attempt is open, nor is `head_refused`.
        head_refused: why its head will never have a node, as a sentence; empty if it may.
        outdated: a Ray cluster of an earlier version still exists for this stage.
        left: a Ray cluster exists whose stage is no longer enabled.
        trouble: why Kubernetes could not be asked, as a sentence; the other fields are then meaningless.
    """

    digest: str | None = None
    head_waits_for: str | None = None
    head_refused: str = ""
    outdated: bool = False
    left: bool = False
    trouble: str = ""


@dataclass(frozen=True)
class Finish:
    """The result is in storage: give the Ray cluster back and end with exit code 0."""


@dataclass(frozen=True)
class Wait:
    """Look again later. `remove_outdated`: meanwhile, give back Ray clusters that work on outdated inputs."""

    reason: str
    remove_outdated: bool = False


@dataclass(frozen=True)
class GiveUp:
    """The inputs will never exist: end with exit code 66."""

    sentence: str


@dataclass(frozen=True)
class Fail:
    """This try failed: end with `code`, or try again where the code allows it."""

    code: int
    sentence: str


@dataclass(frozen=True)
class StopOldAttempt:
    """Let the running attempt of an earlier version save its work, then end it and give back its Ray cluster."""


@dataclass(frozen=True)
class EndAttempt:
    """Record the end of an attempt whose driver is gone."""

    code: int
    sentence: str


@dataclass(frozen=True)
class FollowAttempt:
    """Follow the running attempt, which an earlier pod of this Job submitted."""


@dataclass(frozen=True)
class RemoveOutdated:
    """Give back the Ray clusters that earlier versions of the release left."""


@dataclass(frozen=True)
class StartAttempt:
    """Claim the next attempt (after the end of anyone else's), start the Ray cluster and submit the stage."""


Action: TypeAlias = (
    Finish | Wait | GiveUp | Fail | StopOldAttempt | EndAttempt | FollowAttempt | RemoveOutdated | StartAttempt
)


def next_action(view: View, attempt: AttemptState | None, cluster: ClusterView) -> Action:
    """Decide what the Job does next.

    Args:
        view: the stage and the release.
        attempt: the last attempt at the stage; None before the first.
        cluster: the Ray clusters of the stage. Not looked at if the stage is done.
    """
    stage = view.stage
    if stage.done and not view.at_plan:
        return Finish()
    if not (stage.done or stage.ready):
        if view.lost_inputs:
            return GiveUp(view.lost_inputs)
        removable = not cluster.trouble and (cluster.outdated or cluster.left)
        return Wait(f"waiting for {stage.waits_for}", remove_outdated=removable)
    if cluster.trouble:
        return Fail(ServiceUnavailableError.exit_code, cluster.trouble)
    if attempt is not None and not attempt.ended and is_of_release(attempt, view.release):
        return _about_open_attempt(view, attempt, cluster)
    if cluster.outdated or cluster.left:
        return RemoveOutdated()
    return StartAttempt()


def _about_open_attempt(view: View, attempt: AttemptState, cluster: ClusterView) -> Action:
    """What to do about an attempt of this release that has not ended."""
    runs = cluster.digest is not None
    is_outdated = attempt.holder.get(DIGEST) != view.digest
    is_elsewhere = attempt.holder.get(MODE, view.mode) != view.mode  # perhaps on a Ray cluster that stays
    if cluster.outdated or is_elsewhere or (runs and is_outdated):
        return StopOldAttempt()
    if not runs:
        return EndAttempt(TemporaryFailureError.exit_code, "its Ray cluster no longer exists")
    if cluster.head_refused:
        return Fail(ConfigurationError.exit_code, cluster.head_refused)
    if cluster.head_waits_for is not None:  # so no driver runs; waiting again needs a new attempt
        return EndAttempt(TemporaryFailureError.exit_code, "its Ray head was lost, or it was never submitted")
    return FollowAttempt()


def is_of_release(attempt: AttemptState, release: str) -> bool:
    """Whether a Job of this release claimed an attempt."""
    return bool(attempt.holder.get(RELEASE) == release)
