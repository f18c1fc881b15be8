"""What a stage's Job does next, as a table: everything that it can see, and the action that follows."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from groot_ray.cluster.job.follow import failed_how
from groot_ray.cluster.job.next_action import (
    Action,
    ClusterView,
    EndAttempt,
    Fail,
    Finish,
    FollowAttempt,
    GiveUp,
    RemoveOutdated,
    StartAttempt,
    StopOldAttempt,
    View,
    Wait,
    next_action,
)
from groot_ray.cluster.ray.jobs import JobState
from groot_ray.stages.state import StageState
from groot_ray.storage.lease import AttemptState
from groot_ray.storage.location import open_location
from groot_ray.storage.manifest import Manifest

FOLDER = open_location("/storage/walk/convert/key")
MANIFEST = Manifest(stage="convert", key="key", version="0.1.0")

READY = StageState("convert", FOLDER, "key", None)
UNPINNED = replace(READY, key=None)
WAITING = replace(READY, key=None, waits_for="download")
DONE = replace(READY, manifest=MANIFEST)


def view(stage: StageState = READY, **seen: Any) -> View:
    """What a Job of the release's version `two` sees of its stage."""
    return View(**{"stage": stage, "release": "walk", "digest": "two", "mode": "kuberay", **seen})


def attempt(
    digest: str = "two", *, release: str = "walk", mode: str | None = None, ended: bool = False
) -> AttemptState:
    """An attempt of a version of a release; one that has ended did so with code 75."""
    holder = {"release": release, "digest": digest, **({} if mode is None else {"mode": mode})}
    return AttemptState(1, "owner", holder, ended, 75 if ended else None, "lost" if ended else "", 1.0)


NONE = ClusterView()
OURS = ClusterView(digest="two")
OLD = ClusterView(digest="one", outdated=True)
FORMER = ClusterView(outdated=True)  # a RayCluster of the mode before
LEFT = ClusterView(digest=None, left=True)
AWAY = ClusterView(trouble="the Kubernetes API does not answer")
QUEUED = replace(OURS, head_waits_for="RayCluster walk-convert is suspended until queue robots admits it")
REFUSED = replace(OURS, head_refused="Kubernetes refuses the head's pod")

GONE = EndAttempt(75, "its Ray cluster no longer exists")
LOST = EndAttempt(75, "its Ray head was lost, or it was never submitted")
STOPPED = "stage download has failed"

TABLE: dict[str, tuple[View, AttemptState | None, ClusterView, Action]] = {
    # The result is there.
    "a done stage is finished": (view(DONE), None, NONE, Finish()),
    "a done stage is finished after its attempt": (view(DONE), attempt(ended=True), NONE, Finish()),
    "a done stage does not wait for its attempt's last words": (view(DONE), attempt(), NONE, Finish()),
    "a done stage ends while its predecessor is lost": (view(DONE, lost_inputs=STOPPED), None, NONE, Finish()),
    "a done stage ends while Kubernetes is away": (view(DONE), None, AWAY, Finish()),
    "the attempt that made the plan is followed to its end": (
        view(DONE, at_plan=True),
        attempt(),
        OURS,
        FollowAttempt(),
    ),
    "the attempt that made the plan ends without its cluster": (view(DONE, at_plan=True), attempt(), NONE, GONE),
    # The inputs are not there.
    "inputs are waited for": (view(WAITING), None, NONE, Wait("waiting for download")),
    "inputs are waited for beside a running cluster": (view(WAITING), attempt(), OURS, Wait("waiting for download")),
    "outdated clusters go while inputs are waited for": (view(WAITING), None, OLD, Wait("waiting for download", True)),
    "so do those of the mode before": (view(WAITING), None, FORMER, Wait("waiting for download", True)),
    "so do those of disabled stages": (view(WAITING), None, LEFT, Wait("waiting for download", True)),
    "inputs are waited for while Kubernetes is away": (view(WAITING), None, AWAY, Wait("waiting for download")),
    "a known key does not make inputs": (view(replace(WAITING, key="key")), None, NONE, Wait("waiting for download")),
    "lost inputs end the Job": (view(WAITING, lost_inputs=STOPPED), None, NONE, GiveUp(STOPPED)),
    "lost inputs end the Job beside an old attempt": (
        view(WAITING, lost_inputs=STOPPED),
        attempt("one"),
        OLD,
        GiveUp(STOPPED),
    ),
    # Nothing runs.
    "the first attempt starts": (view(), None, NONE, StartAttempt()),
    "a stage that pins its source starts": (view(UNPINNED), None, NONE, StartAttempt()),
    "the next attempt starts after one that ended": (view(), attempt(ended=True), NONE, StartAttempt()),
    "the next attempt reuses a cluster of this version": (view(), attempt(ended=True), OURS, StartAttempt()),
    "a cluster of this version without any attempt is used": (view(), None, OURS, StartAttempt()),
    "another release's attempt is waited for by the claim": (view(), attempt(release="run"), NONE, StartAttempt()),
    "a laptop's attempt is waited for by the claim": (view(), attempt(release=""), OURS, StartAttempt()),
    "an ended attempt of an earlier version needs no stop": (view(), attempt("one", ended=True), NONE, StartAttempt()),
    # Ray clusters of earlier versions, without an open attempt on them.
    "an outdated cluster goes before the first attempt": (view(), None, OLD, RemoveOutdated()),
    "an outdated cluster goes after an ended attempt": (view(), attempt("one", ended=True), OLD, RemoveOutdated()),
    "a cluster of the mode before goes first": (view(), None, FORMER, RemoveOutdated()),
    "a cluster of a disabled stage goes first": (view(), None, LEFT, RemoveOutdated()),
    "another's attempt does not keep an outdated cluster": (view(), attempt(release="run"), OLD, RemoveOutdated()),
    # An open attempt of this version.
    "a running attempt is followed": (view(), attempt(), OURS, FollowAttempt()),
    "a running attempt of the same mode is followed": (view(), attempt(mode="kuberay"), OURS, FollowAttempt()),
    "what disabled stages left does not stop an attempt": (
        view(),
        attempt(),
        replace(OURS, left=True),
        FollowAttempt(),
    ),
    "an attempt without its cluster ends": (view(), attempt(), NONE, GONE),
    "an attempt without its cluster ends, whatever was left": (view(), attempt(), LEFT, GONE),
    "an attempt whose head waits in a queue ends": (view(), attempt(), QUEUED, LOST),
    "an attempt whose head is refused fails for good": (view(), attempt(), REFUSED, Fail(64, REFUSED.head_refused)),
    # An open attempt of an earlier version.
    "an attempt on an outdated cluster is stopped": (view(), attempt("one"), OLD, StopOldAttempt()),
    "an attempt of the mode before is stopped": (view(), attempt("one"), FORMER, StopOldAttempt()),
    "also when it claims to be of this version": (view(), attempt(), FORMER, StopOldAttempt()),
    "an outdated attempt on a cluster that stays is stopped": (view(), attempt("one"), OURS, StopOldAttempt()),
    "an outdated attempt without a cluster ends": (view(), attempt("one"), NONE, GONE),
    "from external to kuberay": (view(), attempt("one", mode="external"), NONE, StopOldAttempt()),
    "from external to static": (view(mode="static"), attempt("one", mode="external"), NONE, StopOldAttempt()),
    "from kuberay to external": (view(mode="external"), attempt("one", mode="kuberay"), OURS, StopOldAttempt()),
    "a refused head does not keep an old attempt": (
        view(),
        attempt("one"),
        replace(OLD, head_refused="no"),
        StopOldAttempt(),
    ),
    "a queue does not keep an old attempt": (
        view(),
        attempt("one"),
        replace(OLD, head_waits_for="queue"),
        StopOldAttempt(),
    ),
    # Kubernetes does not answer.
    "nothing starts while Kubernetes is away": (view(), None, AWAY, Fail(69, AWAY.trouble)),
    "nothing is followed while Kubernetes is away": (view(), attempt(), AWAY, Fail(69, AWAY.trouble)),
    "nothing is stopped while Kubernetes is away": (view(), attempt("one"), AWAY, Fail(69, AWAY.trouble)),
}


@pytest.mark.parametrize("row", TABLE)
def test_next_action(row: str) -> None:
    seen, last, cluster, action = TABLE[row]
    assert next_action(seen, last, cluster) == action


def test_every_action_is_in_the_table() -> None:
    actions = {Finish, Wait, GiveUp, Fail, StopOldAttempt, EndAttempt, FollowAttempt, RemoveOutdated, StartAttempt}
    assert {type(action) for *_, action in TABLE.values()} == actions == set(Action.__args__)


STAGES = [READY, UNPINNED, WAITING, DONE]
ATTEMPTS = [
    None,
    *[
        attempt(digest, release=release, mode=mode, ended=ended)
        for digest, release, mode, ended in product(
            ["one", "two"], ["walk", "run"], [None, "kuberay", "external"], [False, True]
        )
    ],
]
CLUSTERS = [
    ClusterView(*fields)
    for fields in product(
        [None, "one", "two"], [None, "a queue"], ["", "refused"], [False, True], [False, True], ["", "away"]
    )
]
EVERYTHING = [
    (view(stage, mode=mode, at_plan=at_plan, lost_inputs=lost), last, cluster)
    for stage, mode, at_plan, lost, last, cluster in product(
        STAGES, ["kuberay", "external"], [False, True], ["", STOPPED], ATTEMPTS, CLUSTERS
    )
]


def test_rules_hold_for_everything_that_can_be_seen() -> None:
    for seen, last, cluster in EVERYTHING:
        action = next_action(seen, last, cluster)
        stage = seen.stage
        is_open = last is not None and not last.ended and last.holder["release"] == "walk"
        about = (seen, last, cluster, action)
        assert isinstance(action, Finish) == (stage.done and not seen.at_plan), about
        if isinstance(action, FollowAttempt | StopOldAttempt | EndAttempt):
            assert is_open, ("only open attempts of this release are touched", about)
        if isinstance(action, StartAttempt):
            assert not is_open, ("never two attempts", about)
            assert not cluster.outdated and not cluster.left, ("GPUs are given back first", about)
        if isinstance(action, FollowAttempt):
            assert cluster.digest is not None and not cluster.outdated, about
            assert last is not None and last.holder["digest"] == "two", ("only this version's attempt", about)
        if cluster.trouble:
            assert isinstance(action, Finish | Wait | GiveUp | Fail), ("nothing is changed blindly", about)
        if not stage.ready and not stage.done:
            assert isinstance(action, Wait | GiveUp), about


@pytest.mark.parametrize(
    ("state", "recorded", "code", "sentence"),
    [
        (JobState("FAILED", "broken", 65), None, 65, "broken"),
        (JobState("FAILED", "", 1), None, 1, "its driver ended without a message"),
        (JobState("FAILED", "killed", -9), None, 75, "killed"),
        (JobState("FAILED", "", None), None, 75, "its driver ended without a message"),
        (JobState("STOPPED", "", -15), None, 70, "the Ray job was stopped"),
        (JobState("SUCCEEDED", "", 0), None, 75, "its driver ended without a message"),
        (JobState("FAILED", "exit code 1", 1), attempt(ended=True), 75, "lost"),
        (JobState("STOPPED", "", -15), attempt(ended=True), 75, "lost"),
        (JobState("FAILED", "broken", 65), attempt(), 65, "broken"),
        (
            JobState("SUCCEEDED", "", 0),
            replace(attempt(ended=True), code=0),
            1,
            "the driver ended without its manifest",
        ),
        (JobState("FAILED", "killed", 137), replace(attempt(ended=True), code=None), 137, "killed"),
    ],
)
def test_how_an_attempt_failed(state: JobState, recorded: AttemptState | None, code: int, sentence: str) -> None:
    assert failed_how(state, recorded) == (code, sentence)
