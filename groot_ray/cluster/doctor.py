"""`groot-ray doctor`: everything that can be known to go wrong, found out before anything is requested.

Each check gives findings: `ok`, `warning` (it may be right) or `problem` (it will fail), with one sentence that says what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from groot_ray.cluster.advice import quantity
from groot_ray.cluster.api import Kubernetes, from_kubeconfig
from groot_ray.cluster.pipeline import experiment_location
from groot_ray.errors import GrootRayError
from groot_ray.experiment.cluster import ClusterOptions, PodOptions, StageOptions
from groot_ray.experiment.document import Document

KUBERAY_OLDEST = (1, 5, 1)

# Training GR00T N1.6 3B with the default parts in bf16: measured peaks on one H200 by views and samples in a micro-batch (GiB).
# Between them the peak grows linearly; one process a GPU holds weights, gradients and AdamW's moments whatever the batch.
MEMORY_3B = {1: ((16, 33.5), (64, 38.0)), 3: ((32, 35.1), (64, 46.3))}


@dataclass(frozen=True)
class Finding:
    """What a check found out about `subject`."""

    level: Literal["ok", "warning", "problem"]
    subject: str
    sentence: str

    def __str__(self) -> str:
        mark = {"ok": "✓", "warning": "!", "problem": "✗"}[self.level]
        return f"{mark} {self.subject}: {self.sentence}"


def check(
    document: Document, context: str | None = None, namespace: str | None = None, cluster: bool = False
) -> list[Finding]:
    """Check an experiment: embodiment, storage, dataset, checkpoint, and, with `cluster` or a `context`, the Kubernetes cluster."""
    findings: list[Finding] = []
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("embodiment", lambda: check_embodiment(document)),
        ("storage", lambda: check_rights(document)),
        ("dataset", lambda: check_dataset(document)),
        ("checkpoint", lambda: check_checkpoint(document)),
    ]
    if cluster or context is not None:
        checks.append(("cluster", lambda: check_cluster(document, from_kubeconfig(context, namespace))))
    for subject, run in checks:
        findings += guarded(subject, run)
    return findings


def guarded(subject: str, run: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Findings of a check; an error that is meant for people becomes one of them."""
    found: list[Finding] = []
    try:
        found.extend(run())
    except GrootRayError as error:
        found.append(Finding("problem", subject, str(error)))
    return found


def check_embodiment(document: Document) -> Iterator[Finding]:
    """The description of the robot can be read and used."""
    from groot_ray.embodiment import load_embodiment

    robot = load_embodiment(document.experiment.embodiment, document.experiment.embodiment_tag)
    yield Finding(
        "ok",
        "embodiment",
        f"{robot.name} ({robot.tag}): state {robot.state_dim}, action {robot.action_dim} dims, {len(robot.cameras)} cameras",
    )


def check_rights(document: Document) -> Iterator[Finding]:
    """Storage does all that stages need, found out by doing it."""
    from groot_ray.storage.check import probe_storage

    root = experiment_location(document)
    done = []
    for right in probe_storage(root):
        if right.problem is not None:
            yield Finding("problem", "storage", str(right.problem))
            return
        done.append(right.name)
    yield Finding("ok", "storage", f"{root}: {', '.join(done)}")


def check_dataset(document: Document) -> Iterator[Finding]:
    """The source exists, can be read, and has what the embodiment asks for."""
    from groot_ray.dataset.features import find_camera
    from groot_ray.dataset.lerobot import open_source
    from groot_ray.embodiment import load_embodiment
    from groot_ray.stages.sources import source_of

    source = source_of(document.experiment)
    if source.location is None:
        from groot_ray.stages import hub

        repository = hub.resolve(str(source.repository), "dataset", source.revision)
        files = hub.list_files(repository)
        yield Finding(
            "ok", "dataset", f"{repository.uri}: {len(files)} files, {sum(f.size for f in files) / 1e9:.1f} GB"
        )
        return
    dataset = open_source(source.location)
    frames = sum(episode.length for episode in dataset.episodes)
    yield Finding(
        "ok",
        "dataset",
        f"{source.location}: LeRobot {dataset.version}, {len(dataset.episodes)} episodes, {frames / dataset.fps / 3600:.2f} h at {dataset.fps:g} Hz",
    )
    if dataset.fps < document.experiment.conversion.fps:
        yield Finding(
            "problem",
            "dataset",
            f"it has {dataset.fps:g} Hz and conversion asks for {document.experiment.conversion.fps:g}; lower conversion.fps",
        )
    robot = load_embodiment(document.experiment.embodiment, document.experiment.embodiment_tag)
    known = list(dataset.features)
    for camera in robot.cameras:
        if find_camera(dataset.features, camera.source) is None:
            cameras = ", ".join(dataset.cameras) or "none"
            yield Finding(
                "problem",
                "dataset",
                f"camera {camera.key} wants {camera.source}, which the dataset lacks; it has {cameras}",
            )
    for component in [*robot.state, *robot.action]:
        column = component.column
        if column is not None and column not in known:
            yield Finding(
                "problem",
                "dataset",
                f"component {component.key} wants column {column}, which the dataset lacks; it has {', '.join(known)}",
            )
    wanted = [
        n
        for n in (
            document.experiment.splits.train,
            document.experiment.splits.validation,
            document.experiment.splits.test,
        )
        if isinstance(n, int)
    ]
    if sum(wanted) > len(dataset.episodes):
        yield Finding("problem", "dataset", f"the splits ask for {sum(wanted)} episodes of {len(dataset.episodes)}")


def check_checkpoint(document: Document) -> Iterator[Finding]:
    """The base model is there, and the robot's dims fit into it."""
    import json

    from groot_ray.embodiment import load_embodiment
    from groot_ray.storage import open_location

    model, robot = (
        document.experiment.model,
        load_embodiment(document.experiment.embodiment, document.experiment.embodiment_tag),
    )
    most_state = most_action = 128
    if model.base is None:
        yield Finding("ok", "checkpoint", f"fresh weights of size {model.size}")
    elif "://" in model.base and not model.base.startswith("hf://"):
        location = open_location(model.base, document.experiment.storage.endpoint, document.experiment.storage.region)
        config = json.loads((location / "config.json").read_text())
        most_state, most_action = config.get("max_state_dim", 128), config.get("max_action_dim", 128)
        yield Finding("ok", "checkpoint", f"{location}: {config.get('model_type', 'a checkpoint')}")
    else:
        from groot_ray.stages import hub

        name = hub.hub_name(model.base)
        if name is None:
            yield Finding("ok", "checkpoint", f"folder {model.base}")
        else:
            yield Finding("ok", "checkpoint", hub.resolve(name, "model", model.revision).uri)
    for what, dims, most in (("state", robot.state_dim, most_state), ("action", robot.action_dim, most_action)):
        if dims > most:
            yield Finding("problem", "checkpoint", f"the robot has {dims} {what} dims and the checkpoint takes {most}")


# --- the cluster ------------------------------------------------------------------------------------------------------------------


def check_cluster(document: Document, kube: Kubernetes) -> Iterator[Finding]:
    """Kubernetes has what the release will ask for."""
    options = document.cluster or ClusterOptions()
    if kube.find(f"/api/v1/namespaces/{kube.namespace}") is None:
        yield Finding(
            "problem", "namespace", f"there is no namespace {kube.namespace}; kubectl create namespace {kube.namespace}"
        )
    if options.ray.mode == "kuberay":
        yield from check_kuberay(kube)
    yield from check_secrets(options, kube)
    yield from check_nodes(document, options, kube)
    if options.queue:
        yield from check_queue(options.queue, kube)


def check_kuberay(kube: Kubernetes) -> Iterator[Finding]:
    """KubeRay's CRDs and an operator that is new enough."""
    if kube.find("/apis/ray.io/v1") is None:
        yield Finding(
            "problem",
            "KubeRay",
            "this cluster has no RayClusters (CRD ray.io/v1); install KubeRay 1.5.1 or newer, or use cluster.ray.mode: static",
        )
        return
    images = []
    for deployment in kube.items("/apis/apps/v1/deployments"):
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            if "kuberay" in container["image"] and "operator" in container["image"]:
                images.append((container["image"], int(deployment.get("status", {}).get("readyReplicas") or 0)))
    if not images:
        yield Finding("warning", "KubeRay", "its CRDs are there but no Deployment looks like its operator")
    for image, ready in images:
        version = tuple(int(part) for part in image.rsplit(":v", 1)[-1].split("-")[0].split(".") if part.isdigit())
        if len(version) == 3 and version < KUBERAY_OLDEST:
            yield Finding("problem", "KubeRay", f"{image} is older than 1.5.1 and makes no tokens; upgrade it")
        elif not ready:
            yield Finding("problem", "KubeRay", f"{image} is not ready; see kubectl get pods -A | grep kuberay")
        else:
            yield Finding("ok", "KubeRay", image)


def check_secrets(options: ClusterOptions, kube: Kubernetes) -> Iterator[Finding]:
    """The Secrets and ConfigMaps that the document names exist; their content is not read."""
    wanted = [("secrets", name) for name in [*options.environment.credentials, *options.image.pull_secrets]]
    wanted += [("configmaps", name) for name in options.environment.config_maps]
    if options.environment.ca_bundle:
        wanted.append(("configmaps", options.environment.ca_bundle))
    if options.ray.token_secret:
        wanted.append(("secrets", options.ray.token_secret))
    for kind, name in dict.fromkeys(wanted):
        singular = "Secret" if kind == "secrets" else "ConfigMap"
        if kube.find(f"/api/v1/namespaces/{kube.namespace}/{kind}/{name}") is None:
            yield Finding("problem", singular, f"namespace {kube.namespace} has no {singular} {name}")
        else:
            yield Finding("ok", singular, name)


def check_nodes(document: Document, options: ClusterOptions, kube: Kubernetes) -> Iterator[Finding]:
    """For each group that a stage uses there is a node that is large enough, has the GPUs, and whose taints are tolerated."""
    nodes = kube.items("/api/v1/nodes")
    groups: dict[str, int] = {"head": 1}
    for stage in options.stages.values():
        if stage.enabled:
            for group, pods in pods_of(document, stage, options).items():
                groups[group] = max(groups.get(group, 0), pods)
    for group, count in groups.items():
        if count:
            yield from check_group(document, group, getattr(options.ray, group), count, nodes)
    known = {
        name for node in nodes for image in node.get("status", {}).get("images", []) for name in image.get("names", [])
    }
    for image in {options.image.data, options.image.train}:
        if image.startswith("localhost/") and image not in known:
            yield Finding(
                "problem",
                "image",
                f"{image} is on no node and cannot be pulled; load it (make images-load), or push it and set cluster.image",
            )


def pods_of(document: Document, stage: StageOptions, options: ClusterOptions) -> dict[str, int]:
    """Most pods of each group for a stage; the same rule as the chart's template groot.pods."""
    training = document.experiment.training
    trainers = training.workers[1]
    cpu = trainers if stage.cpu == "training" else int(stage.cpu)
    if training.use_gpu is False:
        return {"cpu": max(cpu, trainers if stage.gpu == "training" else int(stage.gpu)), "gpu": 0}
    per_pod = options.ray.gpu.gpus or 1
    return {"cpu": cpu, "gpu": -(-trainers // per_pod) if stage.gpu == "training" else int(stage.gpu)}


def check_group(
    document: Document, group: str, pod: PodOptions, count: int, nodes: list[dict[str, Any]]
) -> Iterator[Finding]:
    """Nodes for one group of Ray pods."""
    wanted = {"cpu": quantity(pod.cpu_request or str(pod.cpus)), "memory": quantity(pod.memory)}
    if pod.gpus:
        wanted[pod.gpu_resource] = float(pod.gpus)
    fitting = [node for node in nodes if _has(node, wanted)]
    subject = f"{group} pods"
    if not fitting:
        asked = f"{pod.gpus} x {pod.gpu_resource}, " if pod.gpus else ""
        most = max((_allocatable(n, pod.gpu_resource) for n in nodes), default=0.0) if pod.gpus else 0.0
        has = f"; the largest has {most:g} GPUs" if pod.gpus else ""
        yield Finding(
            "problem",
            subject,
            f"no node has {asked}{wanted['cpu']:g} cpu and {pod.memory} memory{has} (a node pool that starts at 0 shows none)",
        )
        return
    selected = [
        n for n in fitting if all(n["metadata"].get("labels", {}).get(k) == v for k, v in pod.node_selector.items())
    ]
    if not selected:
        yield Finding(
            "problem",
            subject,
            f"no node that is large enough has the labels {pod.node_selector}; correct node_selector",
        )
        return
    open_to = [n for n in selected if _tolerated(n, pod.tolerations)]
    if not open_to:
        taints = ", ".join(
            sorted(
                {
                    f"{t['key']}={t.get('value', '')}:{t['effect']}"
                    for n in selected
                    for t in n["spec"].get("taints", [])
                }
            )
        )
        yield Finding(
            "problem",
            subject,
            f"every node that fits has a taint that is not tolerated ({taints}); add it to cluster.ray.{group}.tolerations",
        )
        return
    room = sum(_room(node, wanted) for node in open_to)
    level: Literal["ok", "warning"] = "ok" if room >= count else "warning"
    yield Finding(
        level,
        subject,
        f"{len(open_to)} node{'s' if len(open_to) > 1 else ''} with room for {room} of {count} pods when they are empty",
    )
    if group == "gpu":
        yield from check_gpu_memory(document, pod, open_to)


def check_gpu_memory(document: Document, pod: PodOptions, nodes: list[dict[str, Any]]) -> Iterator[Finding]:
    """The GPUs' memory, where their driver's labels tell it, against the memory that training is known to take."""
    needed = training_memory(document)
    sizes = [float(n["metadata"].get("labels", {}).get("nvidia.com/gpu.memory", 0)) / 1024 for n in nodes]
    known = [size for size in sizes if size]
    if needed is None or not known:
        return
    if max(known) < needed:
        yield Finding(
            "problem",
            "GPU memory",
            f"training takes about {needed:.0f} GiB a GPU and the largest has {max(known):.0f}; lower global_batch_size or accumulate",
        )
    else:
        yield Finding(
            "ok", "GPU memory", f"training takes about {needed:.0f} GiB a GPU, and the GPUs have up to {max(known):.0f}"
        )


def training_memory(document: Document) -> float | None:
    """GiB that one training process takes on its GPU, from measured peaks; None where nothing was measured."""
    from groot_ray.embodiment import load_embodiment

    training, model = document.experiment.training, document.experiment.model
    if (model.base is None and model.size != "3b") or training.tune_llm or training.tune_visual:
        return None
    views = len(load_embodiment(document.experiment.embodiment, document.experiment.embodiment_tag).cameras)
    (small, low), (large, high) = MEMORY_3B[1 if views <= 1 else 3]
    samples = training.global_batch_size / max(1, training.workers[0]) / training.gradient_accumulation_steps
    return low + (high - low) * (samples - small) / (large - small)


def check_queue(queue: str, kube: Kubernetes) -> Iterator[Finding]:
    """The LocalQueue exists."""
    if kube.find("/apis/kueue.x-k8s.io/v1beta1") is None:
        yield Finding("problem", "queue", "this cluster has no Kueue; install it, or leave cluster.queue out")
    elif kube.find(f"/apis/kueue.x-k8s.io/v1beta1/namespaces/{kube.namespace}/localqueues/{queue}") is None:
        yield Finding("problem", "queue", f"namespace {kube.namespace} has no LocalQueue {queue}")
    else:
        yield Finding("ok", "queue", queue)


def _allocatable(node: dict[str, Any], resource: str) -> float:
    return quantity(node.get("status", {}).get("allocatable", {}).get(resource, "0"))


def _has(node: dict[str, Any], wanted: dict[str, float]) -> bool:
    return all(_allocatable(node, resource) >= amount for resource, amount in wanted.items())


def _room(node: dict[str, Any], wanted: dict[str, float]) -> int:
    return int(min(_allocatable(node, resource) // amount for resource, amount in wanted.items() if amount))


def _tolerated(node: dict[str, Any], tolerations: list[dict[str, Any]]) -> bool:
    for taint in node["spec"].get("taints", []):
        if taint["effect"] not in ("NoSchedule", "NoExecute"):
            continue
        if not any(_tolerates(toleration, taint) for toleration in tolerations):
            return False
    return True


def _tolerates(toleration: dict[str, Any], taint: dict[str, Any]) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return toleration.get("key") == taint["key"] and toleration.get("value", "") == taint.get("value", "")
