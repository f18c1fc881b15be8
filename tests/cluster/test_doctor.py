"""What the doctor and `cluster status` conclude from an API server's answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rendering import Helm, minimal, of_kind, settings
from small_hub import Hub, small_hub

from groot_ray.cluster.doctor.checkpoint import check_checkpoint
from groot_ray.cluster.doctor.checks import check as examine
from groot_ray.cluster.doctor.dataset import check_dataset
from groot_ray.cluster.doctor.findings import Finding, guarded
from groot_ray.cluster.doctor.gpu_memory import training_memory
from groot_ray.cluster.doctor.images import full_name
from groot_ray.cluster.doctor.kubernetes import check_cluster
from groot_ray.cluster.doctor.wanted import images_of, most_pods, named_classes, pods_of
from groot_ray.cluster.kube.api import ApiError, Kubernetes
from groot_ray.cluster.kube.release import in_order, short_name
from groot_ray.cluster.status.progress import progress_line
from groot_ray.cluster.status.status import describe
from groot_ray.errors import ConfigurationError, ServiceUnavailableError
from groot_ray.experiment.document import Document, build_document


def answering(objects: dict[str, Any], namespace: str = "robots", forbidden: tuple[str, ...] = ()) -> Kubernetes:
    """An API server that knows `objects` by path, lists included, and refuses what is `forbidden`."""

    def send(method: str, path: str, data: bytes | None, content_type: str) -> tuple[int, bytes]:
        if path.split("?")[0] in forbidden:
            return 403, json.dumps({"message": f'User "you" cannot read {path}'}).encode()
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


def a_cluster(
    *nodes: dict[str, Any],
    operator: str = "quay.io/kuberay/operator:v1.5.1",
    forbidden: tuple[str, ...] = (),
    **more: Any,
) -> Kubernetes:
    deployment = {"spec": {"template": {"spec": {"containers": [{"image": operator}]}}}, "status": {"readyReplicas": 1}}
    return answering(
        {
            "/api/v1/namespaces/robots": {},
            "/apis/ray.io/v1": {},
            "/apis/apps/v1/deployments": [deployment],
            "/api/v1/nodes": list(nodes),
            **more,
        },
        forbidden=forbidden,
    )


def document(**cluster: Any) -> Document:
    return build_document(minimal(**cluster))


def problems(found: list[Finding]) -> list[str]:
    return [str(finding) for finding in found if finding.level == "problem"]


def test_no_problems() -> None:
    found = list(check_cluster(document(), a_cluster(node("a"), node("g", gpus=8, taint="nvidia.com/gpu"))))
    assert not problems(found)


@pytest.mark.parametrize(
    ("kube", "options", "said"),
    [
        (a_cluster(node("a")), {}, "no node has 1 x nvidia.com/gpu"),
        (a_cluster(node("a"), node("g", gpus=8, taint="spot")), {}, "spot=present:NoSchedule"),
        (
            a_cluster(node("a"), node("g", gpus=2)),
            {"ray": {"gpu": {"gpus": 4}}},
            "4 x nvidia.com/gpu (the largest has 2 ",
        ),
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
def test_what_will_fail_is_a_problem(kube: Kubernetes, options: dict[str, Any], said: str) -> None:
    (sentence,) = [s for s in problems(list(check_cluster(document(**options), kube))) if said in s]
    assert sentence.startswith("✗")


KARPENTER = {"/apis/karpenter.sh": {}}
CLUSTER_AUTOSCALER = {"/api/v1/namespaces/kube-system/configmaps/cluster-autoscaler-status": {}}
POOL = {"cloud.google.com/gke-nodepool": "default"}


@pytest.mark.parametrize(
    ("kube", "options", "said"),
    [
        (a_cluster(node("a"), **KARPENTER), {}, "no node has 1 x nvidia.com/gpu .*; Karpenter would have to"),
        (a_cluster(node("g", gpus=2), **KARPENTER), {"ray": {"gpu": {"gpus": 4}}}, "the largest has 2 x .*; Karpenter"),
        (a_cluster(node("a"), **CLUSTER_AUTOSCALER), {}, "1 x nvidia.com/gpu.*; cluster-autoscaler would have to"),
        (a_cluster(node("a", labels=POOL)), {}, "1 x nvidia.com/gpu.*gke-nodepool"),
        (
            a_cluster(node("g", gpus=2), **KARPENTER),
            {"ray": {"gpu": {"node_selector": {"pool": "gpu"}}}},
            "has the labels {'pool': 'gpu'}; Karpenter",
        ),
    ],
)
def test_what_an_autoscaler_may_add_is_a_warning(kube: Kubernetes, options: dict[str, Any], said: str) -> None:
    found = list(check_cluster(document(**options), kube))
    assert not problems(found)
    assert [f for f in found if f.level == "warning" and re.search(said, f.sentence)], found


def cordoned(item: dict[str, Any]) -> dict[str, Any]:
    """A node after kubectl cordon."""
    return item | {"spec": {**item["spec"], "unschedulable": True}}


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([node("a", memory="512Gi"), node("g", gpus=2, memory="32Gi")], "1 x nvidia.com/gpu has 64.0 GiB of memory"),
        ([node("a", cpu="64"), node("g", gpus=2, cpu="4")], "no node with 1 x nvidia.com/gpu has 8 cpu (the largest"),
        (
            [node("g", gpus=1, cpu="4"), node("h", gpus=1, memory="32Gi")],
            "no node with 1 x nvidia.com/gpu has 8 cpu and 64.0 GiB of memory together",
        ),
        ([node("a"), cordoned(node("g", gpus=2))], "(the largest has 0 x nvidia.com/gpu); 1 large enough is cordoned"),
    ],
)
def test_shortages_are_named(nodes: list[dict[str, Any]], said: str) -> None:
    (sentence,) = [s for s in problems(list(check_cluster(document(), a_cluster(*nodes)))) if "gpu pods" in s]
    assert said in sentence
    growing = list(check_cluster(document(), a_cluster(*nodes, **KARPENTER)))
    assert not problems(growing) and any(said in f.sentence for f in growing if f.level == "warning")


NAMING: dict[str, Any] = {
    "security": {"service_account": "bucket"},
    "jobs": {"priority_class": "low"},
    "ray": {
        "cpu": {"priority_class": "low"},
        "gpu": {"priority_class": "low", "runtime_class": "nvidia", "cache": {"storage_class": "nvme"}},
    },
}
NAMED: dict[str, Any] = {
    "/api/v1/namespaces/robots/serviceaccounts/bucket": {},
    "/apis/scheduling.k8s.io/v1/priorityclasses/low": {},
    "/apis/node.k8s.io/v1/runtimeclasses/nvidia": {},
    "/apis/storage.k8s.io/v1/storageclasses/nvme": {},
}


def test_named_objects_that_exist() -> None:
    found = list(check_cluster(document(**NAMING), a_cluster(node("g", gpus=2), **NAMED)))
    assert not problems(found)
    seen = {(f.subject, f.sentence) for f in found if f.level == "ok"}
    assert seen > {("ServiceAccount", "bucket"), ("PriorityClass", "low"), ("RuntimeClass", "nvidia")}
    assert ("StorageClass", "nvme") in seen


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("serviceaccounts/bucket", "✗ ServiceAccount: namespace robots has no ServiceAccount bucket"),
        (
            "priorityclasses/low",
            "✗ PriorityClass: the cluster has no PriorityClass low; cluster.jobs.priority_class, "
            "cluster.ray.cpu.priority_class, cluster.ray.gpu.priority_class name it",
        ),
        (
            "runtimeclasses/nvidia",
            "✗ RuntimeClass: the cluster has no RuntimeClass nvidia; cluster.ray.gpu.runtime_class names it",
        ),
        (
            "storageclasses/nvme",
            "✗ StorageClass: the cluster has no StorageClass nvme; cluster.ray.gpu.cache.storage_class names it",
        ),
    ],
)
def test_named_objects_that_are_missing(path: str, said: str) -> None:
    there = {name: item for name, item in NAMED.items() if not name.endswith(path)}
    assert len(there) == len(NAMED) - 1
    assert problems(list(check_cluster(document(**NAMING), a_cluster(node("g", gpus=2), **there)))) == [said]


def test_groups_without_pods_need_no_class() -> None:
    groups = {group: {"priority_class": group, "cache": {"storage_class": group}} for group in ("head", "cpu", "gpu")}
    values = minimal(ray=groups, jobs={"priority_class": "jobs"})
    values["experiment"]["training"] = {"use_gpu": False}
    read = build_document(values)
    assert read.cluster is not None
    used = {"head": 1, "cpu": 4}
    assert most_pods(read, read.cluster) == used
    expected = {("PriorityClass", name) for name in ("jobs", *used)} | {("StorageClass", name) for name in used}
    assert set(named_classes(read, read.cluster)) == expected


def test_on_an_external_ray_cluster_only_jobs_need_classes() -> None:
    ray = {
        "mode": "external",
        "address": "http://ray:8265",
        "head": {"priority_class": "high", "runtime_class": "kata"},
    }
    read = document(ray=ray, jobs={"priority_class": "low"}, security={"service_account": "bucket"})
    assert problems(list(check_cluster(read, a_cluster(node("a"))))) == [
        "✗ ServiceAccount: namespace robots has no ServiceAccount bucket",
        "✗ PriorityClass: the cluster has no PriorityClass low; cluster.jobs.priority_class names it",
    ]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/v1/namespaces/robots", "read namespace robots, so whether it exists"),
        ("/apis/apps/v1/deployments", "list Deployments of all namespaces, so KubeRay's version"),
        ("/api/v1/namespaces/robots/secrets/keys", "read Secrets in namespace robots, so whether keys exists"),
        (
            "/api/v1/namespaces/robots/serviceaccounts/bucket",
            "read ServiceAccounts in namespace robots, so whether bucket",
        ),
        ("/apis/scheduling.k8s.io/v1/priorityclasses/low", "read PriorityClasses, so whether low exists"),
        ("/apis/node.k8s.io/v1/runtimeclasses/nvidia", "read RuntimeClasses, so whether nvidia exists"),
        ("/apis/storage.k8s.io/v1/storageclasses/nvme", "read StorageClasses, so whether nvme exists"),
        ("/api/v1/nodes", "list nodes, so their sizes and GPUs"),
        ("/apis/kueue.x-k8s.io/v1beta1/namespaces/robots/localqueues/q", "so whether q exists"),
        ("/api/v1/namespaces/kube-system/configmaps/cluster-autoscaler-status", ""),
    ],
)
def test_what_this_account_may_not_read_is_a_warning(path: str, said: str) -> None:
    objects = {
        "/api/v1/namespaces/robots/secrets/keys": {},
        "/apis/kueue.x-k8s.io/v1beta1": {},
        "/apis/kueue.x-k8s.io/v1beta1/namespaces/robots/localqueues/q": {},
        **NAMED,
    }
    options = {"environment": {"credentials": ["keys"]}, "queue": "q", **NAMING}
    nodes = [node("g", gpus=2)]
    everything = list(check_cluster(document(**options), a_cluster(*nodes, **objects)))
    found = list(check_cluster(document(**options), a_cluster(*nodes, forbidden=(path,), **objects)))
    assert not problems(found)
    warnings = [f.sentence for f in found if f.level == "warning"]
    assert len(warnings) == (1 if said else 0)
    assert all(said in sentence and re.search("w(as|ere) not checked", sentence) for sentence in warnings)
    kept = {f.subject for f in everything} - {f.subject for f in found}
    assert kept <= {"head pods", "cpu pods", "gpu pods"}, "everything else is still checked"


def test_an_unknown_account_is_a_problem() -> None:
    kube = Kubernetes(lambda *words: (401, b'{"message": "Unauthorized"}'), "robots")
    (found,) = guarded("cluster", lambda: check_cluster(document(), kube))
    assert found.level == "problem" and "Unauthorized" in found.sentence


def test_images_of_all_stages_and_groups_are_checked() -> None:
    read = document(
        image={"data": "registry.example/data:1", "train": "registry.example/train:1", "pull_secrets": ["registry"]},
        stages={"evaluate": {"image": "registry.example/own:1"}, "download": {"enabled": False}},
        ray={"gpu": {"image": "registry.example/gpu:1"}, "cpu": {"image": "train"}},
    )
    assert read.cluster is not None
    images = [f"registry.example/{name}:1" for name in ("data", "train", "gpu", "own")]
    assert images_of(read, read.cluster) == images
    here = node("g", gpus=2)
    here["status"]["images"] = [{"names": ["registry.example/data:1"]}, {"names": None, "sizeBytes": 1}]
    found = [f for f in check_cluster(read, a_cluster(here)) if f.subject == "image"]
    assert [(f.level, f.sentence) for f in found] == [
        ("ok", "registry.example/data:1 on nodes"),
        ("note", f"cannot be checked from here: {', '.join(images[1:])}; nodes will pull it with the Secret registry"),
    ]


def test_a_full_list_of_images_proves_nothing() -> None:
    full = node("g", gpus=2)
    full["status"]["images"] = [{"names": [f"registry.example/image:{n}"]} for n in range(50)]
    found = [f for f in check_cluster(document(), a_cluster(full)) if f.subject == "image"]
    assert [f.level for f in found] == ["note", "note"] and "cannot be seen from here" in found[0].sentence
    never = document(image={"data": "x", "train": "x", "pull_policy": "Never"})
    assert any("x is on no node" in said for said in problems(list(check_cluster(never, a_cluster(node("g", gpus=2))))))


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("me/x:1", "docker.io/me/x:1"),
        ("host:5000/x", "host:5000/x:latest"),
        ("localhost/x:1", "localhost/x:1"),
        ("a.b/c@sha256:0", "a.b/c@sha256:0"),
    ],
)
def test_names_of_images(image: str, name: str) -> None:
    assert full_name(image) == name


def experiment(**more: Any) -> Document:
    values = minimal()
    values["experiment"].update(more)
    return build_document(values)


def test_training_in_process_is_not_for_a_cluster(tmp_path: Path) -> None:
    local = {
        "storage": {"uri": str(tmp_path)},
        "source": {"uri": str(tmp_path)},
        "model": {"base": None, "size": "tiny"},
    }
    read = experiment(training={"num_workers": 0}, **local)
    assert any("num_workers: 0" in said for said in problems(examine(read)))
    assert not any("num_workers" in said for said in problems(examine(read.model_copy(update={"cluster": None}))))


def test_what_pods_cannot_see_is_a_problem_on_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = {"storage": {"uri": str(tmp_path)}, "model": {"base": None, "size": "tiny"}}
    read = experiment(source={"uri": str(tmp_path / "recordings")}, **local)
    expected = [
        f'✗ pods: experiment.storage.uri is "{tmp_path}"; it must be s3://bucket/prefix: pods would lose a folder',
        f'✗ pods: experiment.source.uri is the folder "{tmp_path}/recordings", which pods cannot see; '
        "copy it to s3:// or give a dataset of the hub (org/name)",
    ]

    def of_pods(found: list[Finding]) -> list[str]:
        return [sentence for sentence in problems(found) if sentence.startswith("✗ pods:")]

    assert of_pods(examine(read)) == expected
    alone = read.model_copy(update={"cluster": None})
    assert not of_pods(examine(alone)), "groot-ray run needs no pods"
    monkeypatch.setattr("groot_ray.cluster.doctor.checks.from_kubeconfig", lambda *words: a_cluster(node("g", gpus=2)))
    assert of_pods(examine(alone, "a-context")) == of_pods(examine(alone, cluster=True)) == expected


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (None, "the folder .*/chekpoint does not exist; correct model.base"),
        ({}, "not a checkpoint: it has no config.json"),
        ({"config.json": "{"}, "not valid JSON"),
        ({"config.json": '{"max_state_dim": "many"}'}, "gives max_state_dim as 'many', which is not a number"),
        ({"config.json": '{"max_state_dim": 20, "max_action_dim": 128}'}, "state dims and the checkpoint takes 20"),
    ],
)
def test_a_wrong_checkpoint_is_a_problem(files: dict[str, str] | None, said: str, tmp_path: Path) -> None:
    folder = tmp_path / "chekpoint"
    if files is not None:
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
    read = experiment(model={"base": str(folder)})
    (found,) = problems(guarded("checkpoint", lambda: check_checkpoint(read)))
    assert re.search(said, found)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with small_hub(Hub()) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        yield hub


def test_a_hub_dataset_is_checked_by_its_info(hub: Hub, aloha_dataset: Path, tmp_path: Path) -> None:
    hub.push("org/aloha", aloha_dataset)
    read = experiment(source={"uri": "hf://org/aloha"}, splits={"train": 3, "test": 1})
    (found,) = guarded("dataset", lambda: check_dataset(read))
    assert found.level == "ok" and "LeRobot v2.1, 4 episodes at 50 Hz" in found.sentence
    assert hub.downloads == ["meta/info.json"], "nothing else is fetched"
    wrong = experiment(
        source={"uri": "hf://org/aloha"}, splits={"train": 9}, conversion={"fps": 60}, embodiment="trossen_mobile"
    )
    said = "\n".join(problems(guarded("dataset", lambda: check_dataset(wrong))))
    assert "lower conversion.fps" in said and "the splits ask for 9 episodes of 4" in said and "camera" in said
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.md").write_text("x")
    hub.push("org/empty", tmp_path / "empty")
    (found,) = guarded("dataset", lambda: check_dataset(experiment(source={"uri": "hf://org/empty"})))
    assert found.level == "problem" and "hf://datasets/org/empty" in found.sentence and "/tmp" not in found.sentence


def test_a_hub_checkpoint_is_checked_by_its_config(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    config = {"model_type": "Gr00tN1d6", "max_state_dim": 20, "max_action_dim": 128}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    hub.push("org/small", tmp_path / "model")
    found = guarded("checkpoint", lambda: check_checkpoint(experiment(model={"base": "org/small"})))
    assert "Gr00tN1d6" in found[0].sentence and "the checkpoint takes 20" in found[1].sentence


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
    for name, given in settings(helm4.render(values)).items():
        rendered = {g["groupName"]: g["maxReplicas"] for g in given["manifest"]["spec"]["workerGroupSpecs"]}
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
    (prefix,) = {given["release"] for given in settings(helm4.render(minimal(), release)).values()}
    assert short_name(release) == prefix


def test_stages_in_order() -> None:
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


def test_progress_in_one_line() -> None:
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


def test_a_busy_api_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    answers = [(500, b"{}"), (429, b"{}"), (200, b'{"a": 1}')]
    kube = Kubernetes(lambda *words: answers.pop(0), "x")
    assert kube.get("/y") == {"a": 1}
    with pytest.raises(ServiceUnavailableError):
        Kubernetes(lambda *words: (503, b"busy"), "x").get("/y")
    with pytest.raises(ConfigurationError, match="may not"):
        Kubernetes(lambda *words: (403, b'{"message": "you may not"}'), "x").get("/y")
    with pytest.raises(ApiError) as refused:
        Kubernetes(lambda *words: (422, b'{"message": "wrong"}'), "x").patch("/y", {})
    assert refused.value.status == 422
    assert Kubernetes(lambda *words: (409, b"{}"), "x").create("/y", {}) is False
