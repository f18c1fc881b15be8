"""A stage's Job: queues, deadlines, predecessors, earlier versions of the release.

Kubernetes is in memory; Ray's job API is served over HTTP and runs the real driver.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from api_server import ApiServer
from job_api import TOKEN, JobApi, job_api

from groot_ray.cluster.job import executor, follow, predecessor, start
from groot_ray.cluster.job.deadline import worked
from groot_ray.cluster.job.executor import StageJob
from groot_ray.cluster.job.main import terminate
from groot_ray.cluster.job.own_job import is_last_try, own_job
from groot_ray.cluster.job.predecessor import Predecessor
from groot_ray.cluster.job.termination import PodTerminated
from groot_ray.cluster.kube.api import Kubernetes
from groot_ray.cluster.kube.exit_codes import NEVER_RETRIED
from groot_ray.cluster.kube.settings import StageSettings
from groot_ray.cluster.ray import connect
from groot_ray.cluster.ray.connect import wait_for_ray
from groot_ray.cluster.ray.jobs import RayJobs
from groot_ray.cluster.ray.kuberay import KubeRayCluster
from groot_ray.cluster.ray.static import StaticCluster
from groot_ray.errors import (
    ConfigurationError,
    GrootRayError,
    PredecessorFailedError,
    ServiceUnavailableError,
    StoppedError,
    TemporaryFailureError,
)
from groot_ray.experiment.document import Document, build_document
from groot_ray.stages.state import inspect_stage
from groot_ray.storage.lease import ATTEMPTS, adopt_attempt, attempts, claim_attempt, last_attempt, request_stop
from groot_ray.storage.location import Location, open_location
from groot_ray.versions import versions

SPACE = "/apis/ray.io/v1/namespaces/robots/rayclusters"
CLUSTER = f"{SPACE}/walk-download"
JOBS = "/apis/batch/v1/namespaces/robots/jobs"
POD = "/api/v1/namespaces/robots/pods/walk-download-head-1"


class HeadHere(KubeRayCluster):
    """A RayCluster whose head's job API is on this machine."""

    url = ""

    def connect(self) -> RayJobs:
        return RayJobs(self.url, TOKEN)


class Release:
    """The stage download of a release, with its storage, Kubernetes and Ray."""

    def __init__(self, folder: Path, dataset: Path, api: JobApi, **stage: Any) -> None:
        self.api, self.folder = api, folder
        self.document: Document = build_document(
            {
                "experiment": {
                    "name": "walk",
                    "storage": {"uri": str(folder / "storage")},
                    "source": {"uri": str(dataset)},
                    "embodiment": "aloha_gr1",
                    "splits": {"test": 1},
                },
                "cluster": {"jobs": {"poll": 1}, "stages": {"download": stage}},
            }
        )
        self.kube = ApiServer({"/api/v1/namespaces/robots/configmaps/walk": {"metadata": {"name": "walk", "uid": "u"}}})
        self.result: int | BaseException | None = None

    def job(self, stage: str = "download", **given: Any) -> StageJob:
        """A pod of the stage's Job."""
        labels = {"groot-ray/digest": "one", "kueue.x-k8s.io/queue-name": "robots"}
        manifest = {"metadata": {"name": f"walk-{stage}", "labels": labels}, "spec": {}}
        names = {"release": "walk", "instance": "walk", "namespace": "robots", "owner": "walk"}
        usual = {"stage": stage, "mode": "kuberay", "digest": "one", "cluster": f"walk-{stage}", "manifest": manifest}
        settings = StageSettings(**names, **{**usual, **given})
        job = StageJob(self.document, settings, self.kube.client())
        if settings.mode == "kuberay":
            ray_cluster = HeadHere(self.kube.client(), settings)
            ray_cluster.url = self.api.url
            job.clusters.current = ray_cluster
        return job

    def start(self) -> threading.Thread:
        """Run the Job's pod in a thread; `result` has how it ended."""

        def run() -> None:
            try:
                self.result = self.job().run()
            except BaseException as error:
                self.result = error

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def suspend(self, item: dict[str, Any]) -> None:
        """Suspend a RayCluster, as Kueue does until it admits it and when it preempts it."""
        self.api.away = True
        item["spec"]["suspend"] = True

    def admit(self) -> None:
        """Let the RayCluster run, with a new head that knows no job."""
        self.api.jobs.clear()
        self.api.folder = self.folder
        self.api.away = False
        self.kube.objects[CLUSTER]["spec"]["suspend"] = False

    @property
    def stage(self) -> Location:
        """The folder of the attempts."""
        return inspect_stage(self.document, "download").folder


@pytest.fixture
def release(tmp_path: Path, aloha_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Release]:
    monkeypatch.setenv("GROOT_RAY_LEASE_SILENCE", "6")
    monkeypatch.setattr(StageJob, "poll", 0.1)
    monkeypatch.setattr(connect, "ASK", 0.1)
    monkeypatch.setattr(connect, "ASK_WAITING", 0.1)
    monkeypatch.delenv("JOB_NAME", raising=False)
    with job_api(JobApi(version=versions()["ray"])) as api:
        yield Release(tmp_path, aloha_dataset, api, deadline=600)


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait until `condition` returns something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"nothing happened within {seconds:.0f} s")


def earlier(file: Location, seconds: float) -> None:
    """Set the time of a file back."""
    at = file.path.stat().st_mtime - seconds
    os.utime(file.path, (at, at))


def test_a_queue_is_waited_for_outside_the_deadline(release: Release, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    release.kube.admit = release.suspend
    thread = release.start()
    until(lambda: "walk-download is suspended until queue robots admits it" in caplog.text)
    earlier(release.stage / ATTEMPTS / "1.json", 7200)
    release.admit()
    thread.join(60)
    assert release.result == 0, release.result
    (attempt,) = attempts(first_folder(release))
    assert attempt.code == 0 and CLUSTER not in release.kube.objects
    assert "is SUCCEEDED" in caplog.text


def test_a_preemption_does_not_use_up_a_try(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (executor, follow, start):
        monkeypatch.setattr(module, "LOST_AFTER", 1.0)
    thread = release.start()
    until(lambda: release.api.jobs)
    release.suspend(release.kube.objects[CLUSTER])
    first = last_attempt(release.stage)
    assert first is not None
    until(lambda: len(attempts(release.stage)) == 2)
    release.admit()
    thread.join(60)
    assert release.result == 0, release.result
    assert [attempt.code for attempt in attempts(first_folder(release))] == [75, 0]


def first_folder(release: Release) -> Location:
    """Where the Job's own attempts are: beside the plan, because the source was not pinned when it began."""
    return open_location(release.folder / "storage" / "walk" / "plan" / "download-job")


def test_the_next_pod_starts_a_queued_attempt_again(release: Release) -> None:
    attempt = claim_attempt(first_folder(release), about={"release": "walk", "digest": "one"})
    assert attempt is not None
    attempt.hand_over()  # its pod was killed
    release.kube.objects[CLUSTER] = {
        "metadata": {"name": "walk-download", "labels": {"groot-ray/digest": "one"}},
        "spec": {},
    }
    release.suspend(release.kube.objects[CLUSTER])
    thread = release.start()
    until(lambda: len(attempts(first_folder(release))) == 2)
    release.admit()
    thread.join(60)
    assert release.result == 0, release.result
    assert [attempt.code for attempt in attempts(first_folder(release))] == [75, 0]


def test_a_stage_can_be_stopped_while_it_is_queued(release: Release) -> None:
    release.kube.admit = release.suspend
    thread = release.start()
    until(lambda: CLUSTER in release.kube.objects)
    assert request_stop(release.stage)
    thread.join(60)
    assert isinstance(release.result, StoppedError)
    assert last_attempt(first_folder(release)).code == 70 and CLUSTER not in release.kube.objects


def test_work_is_stopped_at_its_deadline(release: Release) -> None:
    thread = release.start()
    (name,) = until(lambda: list(release.api.jobs))
    state = last_attempt(release.stage)
    driver = adopt_attempt(release.stage, state.number, state.owner)
    earlier(release.stage / ATTEMPTS / "1.adopted.json", 700)
    until(driver.stop_requested)
    driver.end(70, "saved")
    thread.join(60)
    assert isinstance(release.result, StoppedError) and "longer than its deadline of 10m" in str(release.result)
    assert CLUSTER not in release.kube.objects, f"{name} gave its cluster back"


def test_the_head_has_its_start_timeout_once_it_has_a_node(release: Release, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    ray_cluster = release.job().clusters.current
    ray_cluster.start(lambda: None)
    release.api.away = True
    labels = {"groot-ray/stage": "download", "groot-ray/group": "head"}
    message = "0/3 nodes are available: 3 Insufficient cpu."
    waiting = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    pod = {"metadata": {"name": "walk-download-head-1", "labels": labels}, "spec": {}}
    release.kube.objects[POD] = {**pod, "status": {"phase": "Pending", "conditions": [waiting]}}
    began = time.monotonic()

    def alive() -> None:
        if time.monotonic() - began > 0.9:
            release.kube.objects[POD]["spec"]["nodeName"] = "node-1"

    with pytest.raises(TemporaryFailureError, match="within 0 s"):
        wait_for_ray(ray_cluster, 0.4, "", alive)
    assert time.monotonic() - began > 1.1, "its time began when it had a node"
    assert f"walk-download-head-1 waits for a node: {message}" in caplog.text


def test_a_quota_without_a_queue_is_waited_for_too(release: Release) -> None:
    ray_cluster = release.job().clusters.current
    ray_cluster.start(lambda: None)
    assert ray_cluster.waits_for() is None
    message = 'pods "walk-download-head" is forbidden: exceeded quota: robots'
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreateHeadPod", "message": message}
    release.kube.objects[CLUSTER]["status"] = {"conditions": [condition]}
    assert "exceeded quota: robots" in (ray_cluster.waits_for() or "")
    condition["reason"] = "FailedCreateWorkerPod"
    assert ray_cluster.waits_for() is None


@pytest.mark.parametrize(
    ("message", "final"),
    [
        ('pods "walk-download-head" is forbidden: no PriorityClass with name nope was found', True),
        ('pods "walk-download-head" is forbidden: violates PodSecurity "restricted:latest": privileged', True),
        ('Pod "walk-download-head" is invalid: spec.containers[0].volumeMounts[3].name: Not found: "data"', True),
        (
            'pods "walk-download-head" is forbidden: unable to create new content because robots is being terminated',
            False,
        ),
        ('Internal error occurred: failed calling webhook "x": context deadline exceeded', False),
    ],
)
def test_a_head_that_is_refused_for_good_is_a_mistake(release: Release, message: str, final: bool) -> None:
    reason = "FailedCreateHeadPod"
    condition = {"type": "ReplicaFailure", "status": "True", "reason": reason, "message": f"{reason}\n{message}"}
    release.kube.admit = lambda item: item.update(status={"conditions": [condition]})
    release.api.away = True
    if not final:
        ray_cluster = release.job().clusters.current
        ray_cluster.start(lambda: None)
        assert ray_cluster.waits_for() is None
        return
    with pytest.raises(
        ConfigurationError, match="Kubernetes refuses the head's pod of RayCluster walk-download"
    ) as error:
        release.job().run()
    assert error.value.exit_code in NEVER_RETRIED and message in str(error.value)
    assert CLUSTER not in release.kube.objects, "given back"
    (attempt,) = attempts(first_folder(release))
    assert attempt.code == 64


def test_a_raycluster_with_unknown_fields_is_a_mistake(release: Release) -> None:
    asked = []

    def answer(method: str, path: str, data: bytes | None, content_type: str) -> tuple[int, bytes]:
        if method == "POST":
            asked.append(path)
            return 400, b'{"message": "strict decoding error: unknown field \\"spec.headGroup\\""}'
        return release.kube.answer(method, path, data, content_type)

    job = release.job()
    job.kube = job.clusters.current.kube = Kubernetes(answer, "robots")
    with pytest.raises(ConfigurationError, match="refuses rayclusters/walk-download: .*spec.headGroup"):
        job.run()
    assert asked == [f"{SPACE}?fieldValidation=Strict"], "once, and typing errors count"


@pytest.mark.parametrize("mode", ["static", "external"])
def test_another_ray_mode_ends_what_the_former_one_left(
    release: Release, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two attempts never run at once: the first may save, and its GPUs are given back."""
    before = claim_attempt(first_folder(release), about={"release": "walk", "digest": "one"})
    release.kube.objects[CLUSTER] = raycluster("walk-download")
    there = []

    def driver() -> None:
        until(before.stop_requested)
        there.append(CLUSTER in release.kube.objects)
        before.end(75, "saved")

    thread = threading.Thread(target=driver, daemon=True)
    thread.start()
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    changed = {"mode": mode, "digest": "two", "former": ["walk-download"], "address": release.api.url}
    job = release.job(**changed, replicas={"head": 1})
    monkeypatch.setattr(StaticCluster, "connect", lambda self: RayJobs(self.settings.address, TOKEN))
    head = "/apis/apps/v1/namespaces/robots/statefulsets/walk-download-head/scale"
    release.kube.objects[head] = {"spec": {"replicas": 0}}
    release.api.folder = release.folder
    assert job.run() == 0
    thread.join(10)
    assert there == [True], "it was asked to stop, and kept its cluster until then"
    assert CLUSTER not in release.kube.objects
    assert [attempt.code for attempt in attempts(first_folder(release))] == [75, 0]


def test_an_attempt_on_a_ray_cluster_that_stays_is_ended_first(release: Release) -> None:
    """From external to another mode: there is no RayCluster, and yet the attempt runs."""
    before = claim_attempt(first_folder(release), about={"release": "walk", "digest": "one", "mode": "external"})
    ended = []

    def driver() -> None:
        until(before.stop_requested)
        ended.append(len(attempts(first_folder(release))))
        before.end(75, "saved")

    thread = threading.Thread(target=driver, daemon=True)
    thread.start()
    release.api.folder = release.folder
    assert release.job(digest="two").run() == 0
    thread.join(10)
    assert ended == [1]
    assert [attempt.sentence for attempt in attempts(first_folder(release))][:1] == ["saved"]
    assert [attempt.code for attempt in attempts(first_folder(release))] == [75, 0]


def test_what_a_disabled_stage_left_is_removed(release: Release) -> None:
    left, other = f"{SPACE}/walk-evaluate", f"{SPACE}/run-evaluate"
    release.kube.objects[other] = raycluster("run-evaluate")
    release.api.folder = release.folder
    for _ in ("at work", "done already"):
        release.kube.objects[left] = raycluster("walk-evaluate")
        assert release.job(left=["walk-evaluate", "walk-never"], digest="two").run() == 0
        assert left not in release.kube.objects and other in release.kube.objects
    assert [attempt.code for attempt in attempts(first_folder(release))] == [0]


def raycluster(name: str) -> dict[str, Any]:
    """A RayCluster of the release's first version."""
    return {"metadata": {"name": name, "labels": {"groot-ray/digest": "one"}}, "spec": {}}


def test_pods_of_the_former_revision_end_first(release: Release) -> None:
    job = release.job(mode="static", replicas={"head": 1}, cluster="walk-download-r2")
    head = "/apis/apps/v1/namespaces/robots/statefulsets/walk-download-r2-head/scale"
    release.kube.objects[head] = {"spec": {"replicas": 0}}
    for revision in (1, 2):
        labels = {"groot-ray/cluster": f"walk-download-r{revision}"}
        release.kube.objects[f"{POD}{revision}"] = {"metadata": {"name": "x", "labels": labels}, "spec": {}}
    asked = []

    def alive() -> None:
        asked.append(len(asked))
        if len(asked) == 2:
            del release.kube.objects[f"{POD}1"]

    job.clusters.current.start(alive)
    assert asked == [0, 1]


NO_ROOM = (
    'pods "walk-download-gpu" is forbidden: exceeded quota: robots, requested: nvidia.com/gpu=1, used: nvidia.com/gpu=1'
)


def short_of_workers(release: Release, reason: str = "FailedCreateWorkerPod") -> None:
    """The head of the RayCluster has a node, and a quota refuses one more pod."""
    labels = {"groot-ray/stage": "download", "groot-ray/group": "head"}
    pod = {"metadata": {"name": "walk-download-head-1", "labels": labels}, "spec": {"nodeName": "node-1"}}
    release.kube.objects[POD] = {**pod, "status": {"phase": "Running"}}
    condition = {"type": "ReplicaFailure", "status": "True", "reason": reason, "message": NO_ROOM}
    release.kube.objects[CLUSTER]["status"] = {"conditions": [condition]}


def test_a_quota_on_workers_does_not_end_an_attempt(release: Release) -> None:
    first = release.start()
    (name,) = until(lambda: list(release.api.jobs))
    short_of_workers(release)
    last = until(lambda: last_attempt(first_folder(release)))
    second = release.job()  # the pod after the first one's eviction

    def follow() -> None:
        with suppress(GrootRayError):
            second.follow_again(first_folder(release), last)

    following = threading.Thread(target=follow, daemon=True)
    following.start()
    following.join(1)
    assert following.is_alive(), "it follows"
    assert list(release.api.jobs) == [name]
    (attempt,) = attempts(first_folder(release))
    assert not attempt.ended
    release.api.jobs[name].end("STOPPED", -15)
    for thread in (first, following):
        thread.join(30)


@pytest.mark.parametrize("reason", ["FailedCreateWorkerPod", "FailedCreateHeadPod"])
def test_a_head_that_crashes_is_not_waited_for_forever(release: Release, reason: str) -> None:
    ray_cluster = release.job().clusters.current
    ray_cluster.start(lambda: None)
    short_of_workers(release, reason)
    assert ray_cluster.waits_for() is None, "it has a node"
    release.api.away = True
    with pytest.raises(TemporaryFailureError, match="did not answer within"):
        wait_for_ray(ray_cluster, 0.3, "", lambda: None)


ASKED: dict[str, Callable[[StageJob], Any]] = {
    "own_job": lambda job: own_job(job.kube, "robots"),
    "is_suspended": lambda job: job.clusters.is_suspended(),
    "is_last_try": lambda job: is_last_try(job.kube, "robots"),
    "reconnected": lambda job: job.follower.reconnected(RayJobs("http://ray", TOKEN)),
    "give_back": lambda job: job.clusters.give_back(),
}


@pytest.mark.parametrize("ask", ASKED)
def test_sigterm_is_never_swallowed(release: Release, ask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOB_NAME", "walk-download-1a2b")
    before = signal.signal(signal.SIGTERM, terminate)

    def terminated(*words: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        raise ServiceUnavailableError("the signal did not come")

    try:
        job = release.job()
        job.kube = job.clusters.current.kube = Kubernetes(terminated, "robots")
        monkeypatch.setattr(job.clusters.current, "connect", terminated)
        with pytest.raises(SystemExit) as end:
            ASKED[ask](job)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert isinstance(end.value, PodTerminated) and end.value.code == 75


def test_a_terminated_pod_keeps_its_cluster_and_ends_its_claim(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    release.api.away = True

    def terminated(*words: Any) -> Any:
        raise PodTerminated

    monkeypatch.setattr(start, "wait_for_ray", terminated)
    with pytest.raises(PodTerminated):
        release.job().run()
    assert CLUSTER in release.kube.objects
    (attempt,) = attempts(first_folder(release))
    assert attempt.code == 75 and "was terminated" in attempt.sentence


def test_only_work_of_this_job_counts(tmp_path: Path) -> None:
    folder = open_location(tmp_path)

    def record(name: str, at: float, **content: Any) -> None:
        (folder / ATTEMPTS / f"{name}.json").write_json(content)
        os.utime((folder / ATTEMPTS / f"{name}.json").path, (at, at))

    one, two = "walk-convert-1a2b", "walk-convert-3c4d"
    assert worked(folder, one) == 0
    record("1", 1000, holder={"job": one})  # waits in a queue for 500 s, works for 100
    record("1.adopted", 1500)
    record("1.heartbeat", 1590)
    record("1.end", 1600)
    record("2", 2000, holder={"job": one})  # never began to work
    record("2.end", 2900)
    record("3", 3000, holder={"job": two})  # works for 50 s, then gives no sign
    record("3.adopted", 3100)
    record("3.heartbeat", 3150)
    assert worked(folder, one) == 100
    assert worked(folder, two) == 50
    now = time.time()
    record("4", now - 400, holder={"host": "laptop"})  # works since its claim; no deadline counts it
    record("4.heartbeat", now - 2)
    record("5", now - 60, holder={"job": one})  # is running
    record("5.adopted", now - 40)
    record("5.heartbeat", now - 2)
    assert 140 <= worked(folder, one) < 150
    assert worked(folder, two) == 50 and worked(folder, "") == 0


def test_work_before_the_plan_and_after_it_is_added_up(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOB_NAME", "walk-download-1a2b")
    stage = release.folder / "storage" / "walk" / "download" / "key"
    for folder in (first_folder(release), open_location(stage)):
        attempt = claim_attempt(folder, about={"release": "walk", "job": "walk-download-1a2b"})
        attempt.hand_over()
        adopt_attempt(folder, 1, attempt.ticket.owner).end(75, "lost")
        earlier(folder / ATTEMPTS / "1.adopted.json", 400)
        earlier(folder / ATTEMPTS / "1.json", 400)
        if folder.path != stage:
            release.job().deadline.check(folder)  # 400 s of 600
    with pytest.raises(StoppedError, match="longer than its deadline of 10m"):
        release.job().deadline.check(open_location(stage))
    monkeypatch.setenv("JOB_NAME", "walk-download-3c4d")
    release.job().deadline.check(open_location(stage))  # another Job starts at zero


def test_a_result_that_nobody_makes_is_not_waited_for(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predecessor, "ABANDONED_AFTER", 0.2)
    job = release.job("convert", after="download", after_job="walk-download-1a2b")
    before = Predecessor(job.document, job.settings, job.kube)
    view = inspect_stage(release.document, "convert")
    running = {"metadata": {"name": "walk-download-1a2b"}, "status": {}}
    release.kube.objects[f"{JOBS}/walk-download-1a2b"] = running

    def looks(seconds: float = 0.3) -> str:
        assert not before.lost(view)
        time.sleep(seconds)
        return before.lost(view)

    assert not looks()
    attempt = claim_attempt(inspect_stage(release.document, "download").folder)
    assert attempt is not None
    del release.kube.objects[f"{JOBS}/walk-download-1a2b"]
    assert not looks()  # a laptop works on it
    attempt.end(1, "its battery was empty")
    sentence = looks()
    assert "nobody makes the result of stage download: " in sentence and "no longer exists" in sentence
    complete = {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    release.kube.objects[f"{JOBS}/walk-download-1a2b"] = running | complete
    assert "is complete and left none" in before.lost(view)


def test_a_job_ends_without_a_predecessor(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predecessor, "ABANDONED_AFTER", 0.5)
    with pytest.raises(PredecessorFailedError, match="change the text of cluster.rerun") as error:
        release.job("convert", after="download", after_job="walk-download-1a2b").run()
    assert error.value.exit_code == 66
