"""Everything that can be killed is killed, in each stage; the experiment ends with the same result all the same."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from space import Faults, Space
from test_demo import folder_of, losses, numbers

from groot_ray.storage import open_location
from groot_ray.storage.lease import attempts

pytestmark = pytest.mark.faults
STAGES = ("convert", "finetune", "evaluate")


@pytest.fixture(scope="module")
def calm(space: Space) -> Iterator[str]:
    """An undisturbed run, to compare with."""
    space.install("calm")
    space.wait_done("calm", seconds=3000)
    space.helm("uninstall", "calm")
    yield "calm"


def pod_of(space: Space, release: str, stage: str, **labels: str) -> str | None:
    """Name of a running pod of a stage."""
    for pod in space.pods(release, stage=stage, **labels):
        if pod["status"].get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp"):
            return pod["metadata"]["name"]
    return None


def at_work(space: Space, release: str, stage: str) -> bool:
    """Whether the stage's Ray job runs and has a worker, or the stage is over."""
    if space.states(release).get(stage) == "done":
        return True
    name = pod_of(space, release, stage, component="job")
    if name is None or pod_of(space, release, stage, component="ray", group="cpu") is None:
        return False
    return "Running entrypoint" in space.kubectl("logs", name, check=False)


def delete_job_pod(space: Space, release: str, stage: str) -> None:
    name = pod_of(space, release, stage, component="job")
    if name:
        space.kubectl("delete", "pod", name, "--force", "--grace-period=0")


def delete_worker(space: Space, release: str, stage: str) -> None:
    name = pod_of(space, release, stage, component="ray", group="cpu")
    if name:
        space.kubectl("delete", "pod", name, "--force", "--grace-period=0")


def delete_head(space: Space, release: str, stage: str) -> None:
    name = pod_of(space, release, stage, component="ray", group="head")
    if name:
        space.kubectl("delete", "pod", name, "--force", "--grace-period=0")


FAULTS: dict[str, Callable[[Space, str, str], None]] = {
    "job": delete_job_pod,
    "worker": delete_worker,
    "head": delete_head,
}


def same_result(space: Space, calm: str, release: str) -> None:
    """Equal to the undisturbed run; no attempt began before the one before it had ended."""
    with space.demo.storage() as endpoint:
        one, other = (open_location(f"s3://groot/experiments/{name}", endpoint) for name in (calm, release))
        manifests = [
            json.loads((folder_of(space, root, "convert") / "manifest.json").read_text()) for root in (one, other)
        ]
        assert manifests[0]["files_hash"] == manifests[1]["files_hash"], "no episode was finished twice or differently"
        assert losses(folder_of(space, other, "finetune")) == pytest.approx(
            losses(folder_of(space, one, "finetune")), rel=1e-4
        )
        metrics = [numbers((folder_of(space, root, "evaluate") / "metrics.json").read_json()) for root in (one, other)]
        assert metrics[1] == pytest.approx(metrics[0], rel=1e-3, abs=1e-6)
        for stage in STAGES:
            states = attempts(folder_of(space, other, stage))
            assert all(state.ended for state in states[:-1]), f"{stage}: {states}"
            assert states[-1].code == 0, f"{stage}: {states[-1]}"


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_killed_pods(space: Space, calm: str, fault: str) -> None:
    release = f"kill-{fault}"
    try:
        space.install(release)
        for stage in STAGES:
            space.wait_for(f"{stage} at work", lambda stage=stage: at_work(space, release, stage), 1500)
            FAULTS[fault](space, release, stage)
        space.wait_done(release, seconds=3000)
        same_result(space, calm, release)
    finally:
        space.helm("uninstall", release, check=False)


def test_storage_is_away_for_a_minute(space: Space, calm: str, faults: Faults) -> None:
    release = "cut"
    try:
        space.install(release)
        for stage in STAGES:
            space.wait_for(f"{stage} at work", lambda stage=stage: at_work(space, release, stage), 1500)
            minio = space.get("pods", "-l", "app=minio")[0]["metadata"]["name"]
            faults("cut", f"{space.namespace}/{minio}")
            time.sleep(60)
            faults("mend", f"{space.namespace}/{minio}")
        space.wait_done(release, seconds=3000)
        same_result(space, calm, release)
    finally:
        space.helm("uninstall", release, check=False)


def step_of(space: Space) -> int:
    """The training step that `cluster status` shows, 0 while it shows none."""
    found = re.search(r"(\d+)/600", space.status("node"))
    return int(found[1]) if found else 0


def ready_gpu_pods(space: Space) -> list[dict[str, Any]]:
    """GPU workers of the run that are ready, on nodes that are there."""
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
    values: dict[str, Any] = {
        "experiment": {
            "training": {
                "use_gpu": True,
                "num_workers": [1, 2],
                "max_steps": 600,
                "logging_steps": 5,
                "recovery_interval": 10,
            }
        },
        "cluster": {"ray": {"gpu": {"gpus": 1}}, "stages": {"evaluate": {"enabled": False}}},
    }
    try:
        space.install("node", values=values)
        space.wait_for("two GPU workers", lambda: len(space.pods("node", stage="finetune", group="gpu")) == 2, 1500)
        space.wait_for("training", lambda: "loss" in space.status("node"), 900)
        faults("kill-node", "gpu-1")
        space.wait_for("the node to be gone", lambda: len(space.get("nodes")) == 2, 120)
        reached = step_of(space)
        space.wait_for(
            "steps by one worker alone",
            lambda: len(ready_gpu_pods(space)) == 1 and step_of(space) > reached + 5,
            600,
        )
        faults("up", "--kuberay", "--gpu-nodes", "2")
        faults.load_images()
        space.wait_done("node", ("finetune",), 3000)
        with space.demo.storage() as endpoint:
            root = open_location("s3://groot/experiments/node", endpoint)
            states = sorted(e.relative for e in root.list() if e.relative.endswith("trainer_state.json"))
            history = (root / states[-1]).read_json()["log_history"]
            steps = [row["step"] for row in history if "loss" in row]
            assert steps == sorted(set(steps)), "no optimiser step was committed twice"
            assert any(e.relative.endswith("done-600.json") for e in root.list())
    finally:
        space.helm("uninstall", "node", check=False)
