"""Events and states of Kubernetes turned into advice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ray.cluster.kube.advice import advise_events, advise_job, advise_pod, advise_queue, last_words
from groot_ray.experiment.cluster import quantity


def pod(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "walk-finetune-gpu-worker-x", "labels": {"groot-ray/group": "gpu"}},
        "spec": {
            "containers": [
                {
                    "name": "ray-gpu",
                    "image": "registry.example/groot:1",
                    "resources": {
                        "requests": {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "4"},
                        "limits": {"memory": "64Gi"},
                    },
                }
            ]
        },
        "status": status,
    }


def unschedulable(message: str) -> dict[str, Any]:
    return pod(conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}])


def node(**allocatable: str) -> dict[str, Any]:
    return {
        "status": {
            "allocatable": {name.replace("__", "/").replace("_", "."): value for name, value in allocatable.items()}
        }
    }


def test_a_gpu_count_that_no_node_has() -> None:
    nodes = [node(cpu="64", memory="500Gi", nvidia_com__gpu="1"), node(cpu="64", memory="500Gi")]
    (said,) = advise_pod(unschedulable("0/2 nodes are available: 2 Insufficient nvidia.com/gpu."), nodes)
    assert "no node has 4 x nvidia.com/gpu (the largest has 1 x nvidia.com/gpu)" in said


def test_full_nodes_are_waited_for() -> None:
    (said,) = advise_pod(
        unschedulable("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."),
        [node(cpu="64", memory="500Gi", nvidia_com__gpu="8")],
    )
    assert "4 x nvidia.com/gpu free now" in said


def test_taints_and_selectors_are_named() -> None:
    (said,) = advise_pod(unschedulable("0/1 nodes are available: 1 node(s) had untolerated taint {spot: true}."), None)
    assert "spot: true" in said and "tolerations" in said


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff"])
def test_an_image_that_cannot_be_pulled(reason: str) -> None:
    (said,) = advise_pod(
        pod(containerStatuses=[{"name": "ray-gpu", "state": {"waiting": {"reason": reason, "message": "not found"}}}])
    )
    assert "registry.example/groot:1" in said and "cluster.image.pull_secrets" in said


def test_a_missing_secret() -> None:
    (said,) = advise_pod(
        pod(
            containerStatuses=[
                {
                    "name": "ray-gpu",
                    "state": {
                        "waiting": {"reason": "CreateContainerConfigError", "message": 'secret "storage" not found'}
                    },
                }
            ]
        )
    )
    assert "create the Secret storage" in said


def test_out_of_memory_names_the_limit_and_the_option() -> None:
    (said,) = advise_pod(
        pod(containerStatuses=[{"name": "ray-gpu", "state": {}, "lastState": {"terminated": {"reason": "OOMKilled"}}}])
    )
    assert "64Gi" in said and "cluster.ray.gpu.memory" in said


def test_the_autoscaler_has_a_limit_of_its_own() -> None:
    limits = {"resources": {"limits": {"memory": "512Mi"}}}
    head = {
        "metadata": {"name": "walk-finetune-head", "labels": {"groot-ray/group": "head"}},
        "spec": {"containers": [{"name": "ray-head"}, {"name": "autoscaler", **limits}]},
        "status": {"containerStatuses": [{"name": "autoscaler", "lastState": {"terminated": {"reason": "OOMKilled"}}}]},
    }
    (said,) = advise_pod(head)
    assert "512Mi" in said and said.endswith("raise cluster.ray.autoscaler_memory")


def test_a_running_pod_needs_no_advice() -> None:
    assert advise_pod(pod(phase="Running", containerStatuses=[{"name": "ray-gpu", "state": {"running": {}}}])) == []


def job_pod(code: int, message: str, at: str) -> dict[str, Any]:
    ended = {"exitCode": code, "message": message, "finishedAt": at}
    return {"status": {"containerStatuses": [{"name": "job", "state": {"terminated": ended}}]}}


def test_a_failed_job_says_why() -> None:
    job = {
        "metadata": {"name": "walk-convert-1"},
        "spec": {},
        "status": {"failed": 1, "conditions": [{"type": "Failed", "status": "True", "message": "x"}]},
    }
    pods = [
        job_pod(75, "old", "2026-01-01T00:00:00Z"),
        job_pod(64, "12:00 noise\ngroot-ray: bucket 'x' does not exist; create it\n", "2026-01-01T00:01:00Z"),
    ]
    (said,) = advise_job(job, pods)
    assert "the configuration is wrong: bucket 'x' does not exist; create it" in said
    assert last_words([]) == (None, "")


def test_retries_are_counted() -> None:
    job = {"metadata": {"name": "walk-convert-1"}, "spec": {"backoffLimit": 10}, "status": {"failed": 2}}
    (said,) = advise_job(job, [job_pod(75, "groot-ray: the head was lost", "2026-01-01T00:00:00Z")])
    assert "2 of 10" in said and "the head was lost" in said


def test_the_position_in_a_queue() -> None:
    cluster = {
        "metadata": {"name": "walk-finetune", "uid": "me", "labels": {"kueue.x-k8s.io/queue-name": "robots"}},
        "spec": {"suspend": True},
    }

    def workload(uid: str, at: str, priority: int = 0, admitted: bool = False, queue: str = "robots") -> dict[str, Any]:
        conditions = [{"type": "Admitted", "status": "True"}] if admitted else []
        return {
            "metadata": {"creationTimestamp": at, "ownerReferences": [{"uid": uid}]},
            "spec": {"queueName": queue, "priority": priority},
            "status": {"conditions": conditions},
        }

    loads = [
        workload("a", "1"),
        workload("b", "9", priority=5),
        workload("me", "2"),
        workload("c", "3"),
        workload("d", "0", admitted=True),
        workload("e", "0", queue="x"),
    ]
    assert advise_queue(cluster, loads) == ["walk-finetune is pending in queue robots behind 2 other workloads"]
    cluster["spec"]["suspend"] = False
    assert advise_queue(cluster, loads) == []


@pytest.mark.parametrize(
    "reason",
    [
        "InvalidRayClusterSpec",
        "InvalidRayClusterMetadata",
        "FailedToCreateHeadPod",
        "FailedToCreateRole",
        "FailedCreate",
    ],
)
def test_rejected_clusters_give_advice_once(reason: str) -> None:
    event = {"type": "Warning", "reason": reason, "involvedObject": {"name": "walk-convert"}, "message": "no"}
    assert advise_events([event, event, {**event, "type": "Normal"}]) == ["walk-convert: no"]


@pytest.mark.parametrize("reason", ["Unhealthy", "FailedToDeletePod", "BackoffLimitExceeded"])
def test_passing_events_give_no_advice(reason: str) -> None:
    assert advise_events([{"type": "Warning", "reason": reason, "involvedObject": {"name": "x"}}]) == []


@given(st.integers(0, 10**6), st.sampled_from(["", "m", "k", "Ki", "Mi", "Gi", "G"]))
def test_quantities(amount: int, unit: str) -> None:
    factor = {"": 1, "m": 1e-3, "k": 1e3, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "G": 1e9}[unit]
    assert quantity(f"{amount}{unit}") == pytest.approx(amount * factor)


@pytest.mark.parametrize(("text", "number"), [("1e3", 1000), ("1.5E2", 150), ("2E", 2e18), ("1Ei", 2**60), ("much", 0)])
def test_quantities_with_exponents(text: str, number: float) -> None:
    assert quantity(text) == number
