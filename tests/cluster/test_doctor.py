"""What the doctor and `cluster status` conclude from what an API server answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rendering import Helm, minimal, of_kind, settings

from groot_ray.cluster.api import ApiError, Kubernetes
from groot_ray.cluster.doctor import Finding, check_cluster, guarded, pods_of, training_memory
from groot_ray.cluster.release import in_order, short_name
from groot_ray.cluster.status import describe, progress_line
from groot_ray.errors import ConfigurationError, ServiceUnavailableError
from groot_ray.experiment.document import Document, build_document


def answering(objects: dict[str, Any], namespace: str = "robots") -> Kubernetes:
    """An API server that knows `objects` by path, lists included."""

    def send(method: str, path: str, data: bytes | None, content_type: str) -> tuple[int, bytes]:
        found = objects.get(path.split("?")[0])
        if found is None:
            return 404, json.dumps({"message": f"{path} not found"}).encode()
        return 200, json.dumps({"items": found} if isinstance(found, list) else found).encode()

    return Kubernetes(send, namespace)


def node(
    name: str,
    cpu: str = "16",
    memory: str = "128Gi",
    gpus: int = 0,
    labels: dict[str, str] | None = None,
    taint: str | None = None,
) -> dict[str, Any]:
    allocatable = {"cpu": cpu, "memory": memory, **({"nvidia.com/gpu": str(gpus)} if gpus else {})}
    taints = [{"key": taint, "value": "present", "effect": "NoSchedule"}] if taint else []
    images = [{"names": ["localhost/groot-ray:0.1.0-data", "localhost/groot-ray:0.1.0-train"]}]
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"taints": taints},
        "status": {"allocatable": allocatable, "images": images},
    }


def a_cluster(*nodes: dict[str, Any], operator: str = "quay.io/kuberay/operator:v1.5.1", **more: Any) -> Kubernetes:
    deployment = {"spec": {"template": {"spec": {"containers": [{"image": operator}]}}}, "status": {"readyReplicas": 1}}
    return answering(
        {
            "/api/v1/namespaces/robots": {},
            "/apis/ray.io/v1": {},
            "/apis/apps/v1/deployments": [deployment],
            "/api/v1/nodes": list(nodes),
            **more,
        }
    )


def document(**cluster: Any) -> Document:
    return build_document(minimal(**cluster))


def problems(found: list[Finding]) -> list[str]:
    return [str(finding) for finding in found if finding.level == "problem"]


def test_all_is_well() -> None:
    found = list(check_cluster(document(), a_cluster(node("a"), node("g", gpus=8, taint="nvidia.com/gpu"))))
    assert not problems(found)


@pytest.mark.parametrize(
    ("kube", "options", "said"),
    [
        (a_cluster(node("a")), {}, "no node has 1 x nvidia.com/gpu"),
        (a_cluster(node("a"), node("g", gpus=8, taint="spot")), {}, "spot=present:NoSchedule"),
        (a_cluster(node("a"), node("g", gpus=2)), {"ray": {"gpu": {"gpus": 4}}}, "the largest has 2 GPUs"),
        (
            a_cluster(node("a"), node("g", gpus=2)),
            {"ray": {"gpu": {"node_selector": {"pool": "gpu"}}}},
            "correct node_selector",
        ),
        (a_cluster(node("a", memory="2Gi"), node("g", gpus=2, taint="nvidia.com/gpu")), {}, "head pods"),
        (a_cluster(node("g", gpus=2), operator="quay.io/kuberay/operator:v1.4.0"), {}, "older than 1.5.1"),
        (a_cluster(node("g", gpus=2)), {"environment": {"credentials": ["keys"]}}, "no Secret keys"),
        (a_cluster(node("g", gpus=2)), {"queue": "robots"}, "no Kueue"),
        (
            a_cluster(node("g", gpus=2), **{"/apis/kueue.x-k8s.io/v1beta1": {}}),
            {"queue": "robots"},
            "no LocalQueue robots",
        ),
        (a_cluster(node("g", gpus=2)), {"image": {"data": "localhost/other:1"}}, "is on no node"),
        (answering({"/api/v1/namespaces/robots": {}, "/api/v1/nodes": [node("g", gpus=2)]}), {}, "install KubeRay"),
    ],
)
def test_what_will_fail_is_told(kube: Kubernetes, options: dict[str, Any], said: str) -> None:
    (sentence,) = [s for s in problems(list(check_cluster(document(**options), kube))) if said in s]
    assert sentence.startswith("✗")


def test_gpu_memory_is_compared_with_what_was_measured() -> None:
    assert training_memory(document()) == pytest.approx(38.0), "one view, 64 samples"
    small = node("g", gpus=1, labels={"nvidia.com/gpu.memory": "24576"})
    (said,) = [s for s in problems(list(check_cluster(document(), a_cluster(small)))) if "GPU memory" in s]
    assert "38 GiB" in said and "24" in said


def test_an_error_becomes_a_finding() -> None:
    def fails() -> Any:
        yield Finding("ok", "x", "fine")
        raise ConfigurationError("no")

    assert [f.level for f in guarded("x", fails)] == ["ok", "problem"]


@pytest.mark.parametrize("use_gpu", [None, True, False])
@pytest.mark.parametrize("workers", [1, 5, [2, 7]])
def test_pods_are_counted_as_the_chart_counts(helm4: Helm, use_gpu: bool | None, workers: Any) -> None:
    values = minimal(ray={"gpu": {"gpus": 2}}, stages={"convert": {"cpu": 3}})
    values["experiment"]["training"] = {"num_workers": workers, "use_gpu": use_gpu, "global_batch_size": 70}
    read = build_document(values)
    assert read.cluster is not None
    for name, told in settings(helm4.render(values)).items():
        rendered = {g["groupName"]: g["maxReplicas"] for g in told["manifest"]["spec"]["workerGroupSpecs"]}
        counted = {group: n for group, n in pods_of(read, read.cluster.stages[name], read.cluster).items() if n}
        assert rendered == counted, name


@pytest.mark.parametrize(
    "release",
    [
        "walk",
        "a-release-with-a-name-that-is-quite-long-but-allowed",
        "exactly-twenty-five-chars",
        "a-dash-at-eighteen-------x",
    ],
)
def test_names_are_those_of_the_chart(helm4: Helm, release: str) -> None:
    (told,) = {told["release"] for told in settings(helm4.render(minimal(), release)).values()}
    assert short_name(release) == told


def test_stages_in_their_order() -> None:
    assert in_order(
        {"evaluate": {"after": "finetune"}, "finetune": {"after": "convert"}, "convert": {}, "b": {"after": "gone"}}
    ) == [
        "b",
        "convert",
        "finetune",
        "evaluate",
    ]
    assert sorted(in_order({"a": {"after": "b"}, "b": {"after": "a"}})) == ["a", "b"], "a circle ends"


def test_status_shows_stages_and_advice(helm4: Helm) -> None:
    objects = helm4.render(minimal())
    (config,) = of_kind(objects, "ConfigMap")
    jobs = [job for job in of_kind(objects, "Job") if "groot-ray/stage" in job["metadata"]["labels"]]
    for job in jobs:
        job["metadata"] |= {"creationTimestamp": "2026-01-01T00:00:00Z", "uid": job["metadata"]["name"]}
        job["status"] = {}
    by_stage = {job["metadata"]["labels"]["groot-ray/stage"]: job for job in jobs}
    by_stage["download"]["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    by_stage["convert"]["status"] = {"failed": 1, "conditions": [{"type": "Failed", "status": "True", "message": "x"}]}
    pod = {
        "metadata": {"name": "p", "labels": {"groot-ray/stage": "convert", "groot-ray/component": "job"}},
        "spec": {"containers": [{"name": "job"}]},
        "status": {
            "containerStatuses": [
                {"name": "job", "state": {"terminated": {"exitCode": 65, "message": "groot-ray: episode 3 is broken"}}}
            ]
        },
    }
    kube = answering(
        {
            "/api/v1/namespaces/robots/configmaps/walk": config,
            "/apis/batch/v1/namespaces/robots/jobs": jobs,
            "/api/v1/namespaces/robots/pods": [pod],
        }
    )
    text = describe(kube, "walk")
    assert "download  done" in text and "convert   failed" in text and "finetune  waiting" in text
    assert "the data is wrong: episode 3 is broken" in text
    with pytest.raises(ConfigurationError, match="no release 'other'"):
        describe(kube, "other")


def test_progress_in_a_line() -> None:
    status = {
        "state": "running",
        "work": "finetune",
        "done": 30,
        "total": 60,
        "unit": "steps",
        "fields": {"loss": 0.51234},
        "remaining": 65.0,
    }
    assert progress_line(status) == "finetune 30/60 steps, loss 0.5123, 1m05s left"
    assert progress_line({"state": "failed", "sentence": "no"}) == "failed: no"


def test_the_api_is_asked_again_when_it_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groot_ray.cluster.api.time.sleep", lambda seconds: None)
    answers = [(500, b"{}"), (429, b"{}"), (200, b'{"a": 1}')]
    kube = Kubernetes(lambda *words: answers.pop(0), "x")
    assert kube.get("/y") == {"a": 1}
    with pytest.raises(ServiceUnavailableError):
        Kubernetes(lambda *words: (503, b"busy"), "x").get("/y")
    with pytest.raises(ConfigurationError, match="may not"):
        Kubernetes(lambda *words: (403, b'{"message": "you may not"}'), "x").get("/y")
    with pytest.raises(ApiError) as refused:
        Kubernetes(lambda *words: (422, b'{"message": "wrong"}'), "x").create("/y", {})
    assert refused.value.status == 422
    assert Kubernetes(lambda *words: (409, b"{}"), "x").create("/y", {}) is False
