"""Everything that can be killed is killed, in each stage; the experiment still ends with the same result.

A fault that hits nothing proves nothing: each test checks what it hit and what followed.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from space import Faults, Space
from test_demo import folder_of, losses, numbers

from groot_ray.convert.ledger import Ledger
from groot_ray.storage import open_location
from groot_ray.storage.lease import attempts

pytestmark = pytest.mark.faults
STAGES = ("convert", "finetune", "evaluate")
STEPS = 600  # of the run that loses a node: enough for the node to come back meanwhile


@pytest.fixture(scope="module")
def calm(space: Space) -> Iterator[str]:
    """An undisturbed run for comparison."""
    space.install("calm")
    space.wait_done("calm", seconds=3000)
    space.helm("uninstall", "calm")
    yield "calm"


def running(space: Space, release: str, stage: str, **labels: str) -> dict[str, Any] | None:
    """A running pod of a stage that is not about to end."""
    for pod in space.pods(release, stage=stage, **labels):
        if pod["status"].get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp"):
            return pod
    return None


def at_work(space: Space, release: str, stage: str) -> bool:
    """Whether the stage's Ray job runs with a worker pod; a stage that is already over is an error."""
    name = space.job_names(release).get(stage)
    if name is not None:
        done = json.loads(space.kubectl("get", "job", name, "-o", "json"))["status"].get("succeeded")
        assert not done, f"{stage} was over before it was struck"
    job = running(space, release, stage, component="job")
    if job is None or running(space, release, stage, component="ray", group="cpu") is None:
        return False
    return "Running entrypoint" in space.kubectl("logs", job["metadata"]["name"], check=False)


def strike(space: Space, release: str, stage: str, force: bool = True, **labels: str) -> dict[str, Any]:
    """Delete a running pod of a stage and wait until it is gone; returns the pod."""
    pod = space.wait_for(f"a pod of {stage} to strike", lambda: running(space, release, stage, **labels), 600, poll=0.3)
    name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
    space.kubectl("delete", "pod", name, "--wait=false", *(["--force", "--grace-period=0"] if force else []))

    def gone() -> bool:
        return all(other["metadata"]["uid"] != uid for other in space.pods(release, stage=stage))

    space.wait_for(f"{name} to be gone", gone, 300)
    return pod


def same_result(space: Space, calm: str, release: str) -> None:
    """Equal to the undisturbed run: nothing done twice, and no attempt began before the one before it had ended."""
    with space.demo.storage() as endpoint:
        one, other = (open_location(f"s3://groot/experiments/{name}", endpoint) for name in (calm, release))
        converted = [folder_of(space, root, "convert") for root in (one, other)]
        manifests = [json.loads((folder / "manifest.json").read_text()) for folder in converted]
        assert manifests[0]["files_hash"] == manifests[1]["files_hash"], "an episode was converted differently"
        segments = [entry.location for entry in (converted[1] / "conversion" / "ledger").list()]
        listed = Counter(row["source_index"] for segment in segments for row in segment_rows(segment))
        assert listed == Counter(range(4)), f"episodes listed: {listed}"
        assert len(Ledger(converted[1] / "conversion" / "ledger").read()) == 4
        history = losses(folder_of(space, other, "finetune"))
        assert history == pytest.approx(losses(folder_of(space, one, "finetune")), rel=1e-4)
        metrics = [numbers((folder_of(space, root, "evaluate") / "metrics.json").read_json()) for root in (one, other)]
        assert metrics[1] == pytest.approx(metrics[0], rel=1e-3, abs=1e-6)
        for stage in STAGES:
            one_after_another(folder_of(space, other, stage), stage)


def segment_rows(segment: Any) -> list[dict[str, Any]]:
    """Rows of one of the ledger's segments."""
    import io

    import pyarrow.parquet as pq

    return pq.read_table(io.BytesIO(segment.read_bytes())).to_pylist()


def one_after_another(folder: Any, stage: str) -> int:
    """Check that each attempt ended before the next was claimed and the last succeeded; returns their number."""
    states = attempts(folder)
    assert states and all(state.ended for state in states) and states[-1].code == 0, f"{stage}: {states}"
    for state in states[:-1]:
        ended = (folder / "attempts" / f"{state.number}.end.json").read_json()["at"]
        claimed = (folder / "attempts" / f"{state.number + 1}.json").read_json()["at"]
        assert ended <= claimed, f"{stage}: attempt {state.number + 1} was claimed at {claimed}, before {ended}"
    return len(states)


def tries(space: Space, release: str, stage: str) -> int:
    """Number of attempts at a stage."""
    with space.demo.storage() as endpoint:
        return len(attempts(folder_of(space, open_location(f"s3://groot/experiments/{release}", endpoint), stage)))


@pytest.mark.parametrize("component", ["job", "worker", "head"])
def test_killed_pods(space: Space, calm: str, component: str) -> None:
    release = f"kill-{component}"
    labels = {"component": "job"} if component == "job" else {"component": "ray", "group": "head"}
    if component == "worker":
        labels = {"component": "ray", "group": "cpu"}
    struck = {}
    try:
        space.install(release)
        if component != "worker":  # download has no workers, and is over quickly: struck as soon as it is there
            struck["download"] = strike(space, release, "download", **labels)
        for stage in STAGES:
            space.wait_for(f"{stage} at work", lambda stage=stage: at_work(space, release, stage), 1500, poll=0.3)
            struck[stage] = strike(space, release, stage, **labels)
        space.wait_done(release, seconds=3000)
        if component == "job":
            for stage, pod in struck.items():
                left = space.pods(release, stage=stage, component="job")
                assert left and left[-1]["metadata"]["uid"] != pod["metadata"]["uid"], f"{stage}: no second pod"
        same_result(space, calm, release)
        counted = {stage: tries(space, release, stage) for stage in STAGES}
        if component == "head":
            assert all(count > 1 for count in counted.values()), f"a lost head ends an attempt: {counted}"
        else:
            assert all(count == 1 for count in counted.values()), f"the attempt continues: {counted}"
    finally:
        space.helm("uninstall", release, check=False)


def test_storage_is_away_for_a_minute(space: Space, calm: str, faults: Faults) -> None:
    release = "cut"
    minio = space.get("pods", "-l", "app=minio")[0]["metadata"]["name"]
    try:
        space.install(release)
        head = {"component": "ray", "group": "head"}  # download has no workers
        space.wait_for("download at work", lambda: running(space, release, "download", **head), 600, poll=0.3)
        for stage in ("download", *STAGES):
            if stage != "download":
                space.wait_for(f"{stage} at work", lambda stage=stage: at_work(space, release, stage), 1500, poll=0.3)
            faults("cut", f"{space.namespace}/{minio}")
            try:
                time.sleep(60)
                status = json.loads(space.kubectl("get", "job", space.job_names(release)[stage], "-o", "json"))[
                    "status"
                ]
                assert not status.get("succeeded"), f"{stage} ended without storage"
            finally:
                faults("mend", f"{space.namespace}/{minio}")
        space.wait_done(release, seconds=3000)
        same_result(space, calm, release)
    finally:
        space.helm("uninstall", release, check=False)


def test_a_worker_that_is_asked_to_leave_saves_first(space: Space) -> None:
    release = "leave"
    training = {"max_steps": 200, "save_steps": 1000, "recovery_interval": 0, "logging_steps": 2}
    values = {
        "experiment": {"training": training},
        "cluster": {"stages": {"evaluate": {"enabled": False}}},
    }
    try:
        space.install(release, values=values)
        space.wait_for("some steps", lambda: step_of(space, release) >= 10, 900)
        strike(space, release, "finetune", force=False, component="ray", group="cpu")
        space.wait_done(release, ("finetune",), 1800)
        log = space.job_log(release, "finetune")
        went_on = [int(step) for step in re.findall(r"resuming from step (\d+)", log)]
        assert went_on and went_on[0] >= 10, f"nothing was saved before the pod ended: {log[-2000:]}"
        with space.demo.storage() as endpoint:
            steps_once_each(open_location(f"s3://groot/experiments/{release}", endpoint), space, training["max_steps"])
    finally:
        space.helm("uninstall", release, check=False)


def step_of(space: Space, release: str) -> int:
    """The last training step that was logged, 0 before the first."""
    found = re.findall(r"step (\d+)/\d+: loss", space.job_log(release, "finetune"))
    return int(found[-1]) if found else 0


def steps_once_each(root: Any, space: Space, last: int) -> None:
    """Check that every logged step is there once, in order, up to the last."""
    states = sorted(e.relative for e in root.list() if e.relative.endswith(f"checkpoint-{last}/trainer_state.json"))
    history = [row["step"] for row in (root / states[-1]).read_json()["log_history"] if "loss" in row]
    assert history == sorted(set(history)) and history[-1] == last, "an optimizer step was committed twice"


def ready_gpu_pods(space: Space) -> list[dict[str, Any]]:
    """Ready GPU workers of the run, on nodes that exist."""
    nodes = {node["metadata"]["name"] for node in space.get("nodes")}
    return [
        pod
        for pod in space.pods("node", stage="finetune", group="gpu")
        if pod["spec"].get("nodeName") in nodes
        and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
    ]


def test_a_lost_gpu_node(space: Space, faults: Faults) -> None:
    gpus = [n["metadata"]["name"] for n in space.get("nodes", "-l", "nvidia.com/gpu.present=true")]
    if len(gpus) < 2 or "gpu-1" not in gpus:
        pytest.skip("two GPU nodes, the first called gpu-1, are needed")
    training: dict[str, Any] = {"max_steps": STEPS, "save_steps": 200, "logging_steps": 5, "recovery_interval": 10}
    elastic = {**training, "use_gpu": True, "num_workers": [1, 2]}
    node: dict[str, Any] = {"experiment": {"training": elastic}, "cluster": {"ray": {"gpu": {"gpus": 1}}}}
    try:
        space.install("node", values=node)
        space.wait_for("two GPU workers", lambda: len(ready_gpu_pods(space)) == 2, 1500)
        space.wait_for("training", lambda: step_of(space, "node") >= 10, 900)
        assert worker_counts(space) == [2]
        faults("kill-node", "gpu-1")
        space.wait_for("the node to be gone", lambda: len(space.get("nodes")) == 2, 120)
        space.wait_for("one worker alone", lambda: worker_counts(space) == [2, 1], 600)
        reached = step_of(space, "node")
        space.wait_for("steps by one worker", lambda: step_of(space, "node") > reached + 10, 600)
        assert len(ready_gpu_pods(space)) == 1
        faults("up", "--kuberay", "--gpu-nodes", "2")
        faults.load_images()
        space.wait_for("both workers again", lambda: worker_counts(space) == [2, 1, 2], 900)
        space.wait_done("node", seconds=3000)
        space.install("node-calm", values={"experiment": {"training": {**training, "num_workers": 1}}})
        space.wait_done("node-calm", seconds=3000)
        with space.demo.storage() as endpoint:
            root, undisturbed = (
                open_location(f"s3://groot/experiments/{name}", endpoint) for name in ("node", "node-calm")
            )
            steps_once_each(root, space, STEPS)
            one_after_another(folder_of(space, root, "finetune"), "finetune")
            history = [losses(folder_of(space, place, "finetune")) for place in (root, undisturbed)]
            assert history[0][:20] == pytest.approx(history[1][:20], rel=1e-3), "the same samples, however many workers"
            assert history[0][-1] == pytest.approx(history[1][-1], rel=0.25), "600 steps of rounding apart"
            mae = [
                (folder_of(space, place, "evaluate") / "metrics.json").read_json()["average"]["real"]["mae"]
                for place in (root, undisturbed)
            ]
            assert mae[0] == pytest.approx(mae[1], rel=0.1)
    finally:
        space.helm("uninstall", "node", check=False)
        space.helm("uninstall", "node-calm", check=False)


def worker_counts(space: Space) -> list[int]:
    """Numbers of workers the run trained with, one per (re)start, without repetitions."""
    log = space.job_log("node", "finetune")
    counts = [int(n) for n in re.findall(r"global_batch_size\): (\d+) workers x", log)]
    return [n for i, n in enumerate(counts) if i == 0 or counts[i - 1] != n]
