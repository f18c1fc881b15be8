"""What `groot-ray doctor` finds out about a Kubernetes cluster: KubeRay, Secrets, classes, nodes, GPUs, images, the queue.

An account that may not read something gets a warning that says what was not checked, and the rest of the checks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from groot_ray.cluster.doctor.findings import Finding, Level
from groot_ray.cluster.kube.advice import described
from groot_ray.cluster.kube.api import ForbiddenError, Kubernetes
from groot_ray.experiment.cluster import ClusterOptions, PodOptions, StageOptions, quantity
from groot_ray.experiment.document import Document

KUBERAY_OLDEST = (1, 5, 1)
LISTED_IMAGES = 50  # a kubelet names so many of its images in its node's status, unless it is told otherwise
NODE_POOLS = (  # labels that managed node pools give to their nodes
    "cloud.google.com/gke-nodepool",
    "eks.amazonaws.com/nodegroup",
    "kubernetes.azure.com/agentpool",
    "karpenter.sh/nodepool",
)

CLASSES = {  # where the API has what belongs to no namespace
    "PriorityClass": "/apis/scheduling.k8s.io/v1/priorityclasses",
    "RuntimeClass": "/apis/node.k8s.io/v1/runtimeclasses",
    "StorageClass": "/apis/storage.k8s.io/v1/storageclasses",
}

# Training GR00T N1.6 3B with the default parts in bf16: measured peaks on one H200 by views and samples in a micro-batch (GiB).
# Between them the peak grows linearly; one process a GPU holds weights, gradients and AdamW's moments whatever the batch.
MEMORY_3B = {1: ((16, 33.5), (64, 38.0)), 3: ((32, 35.1), (64, 46.3))}


def check_cluster(document: Document, kube: Kubernetes) -> Iterator[Finding]:
    """Kubernetes has what the release will ask for."""
    options = document.cluster or ClusterOptions()
    space = kube.namespace
    yield from allowed("namespace", f"read namespace {space}", "whether it exists", check_namespace(kube))
    if options.ray.mode == "kuberay":
        yield from allowed("KubeRay", "list Deployments of all namespaces", "KubeRay's version", check_kuberay(kube))
    for kind, name in named_objects(options):
        check = check_object(kind, name, kube)
        yield from allowed(kind, f"read {kind}s in namespace {space}", f"whether {name} exists", check)
    for (kind, name), places in named_classes(document, options).items():
        check = check_class(kind, name, places, kube)
        yield from allowed(kind, f"read {kind}es", f"whether {name} exists", check)
    yield from check_places(document, options, kube)
    if options.queue:
        check = check_queue(options.queue, kube)
        yield from allowed("queue", f"read LocalQueues in namespace {space}", f"whether {options.queue} exists", check)


def allowed(subject: str, what: str, unchecked: str, found: Iterator[Finding]) -> Iterator[Finding]:
    """The findings of a check, as far as this account may go."""
    try:
        yield from found
    except ForbiddenError:
        yield Finding("warning", subject, f"this account may not {what}, so {unchecked} was not checked")


def check_namespace(kube: Kubernetes) -> Iterator[Finding]:
    """The namespace exists."""
    if kube.find(f"/api/v1/namespaces/{kube.namespace}") is None:
        yield Finding(
            "problem", "namespace", f"there is no namespace {kube.namespace}; kubectl create namespace {kube.namespace}"
        )


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


def named_objects(options: ClusterOptions) -> list[tuple[str, str]]:
    """The Secrets, ConfigMaps and service account that the document names, as (kind, name)."""
    wanted = [("Secret", name) for name in [*options.environment.credentials, *options.image.pull_secrets]]
    wanted += [("ConfigMap", name) for name in options.environment.config_maps]
    if options.environment.ca_bundle:
        wanted.append(("ConfigMap", options.environment.ca_bundle))
    if options.ray.token_secret:
        wanted.append(("Secret", options.ray.token_secret))
    if options.security.service_account:
        wanted.append(("ServiceAccount", options.security.service_account))
    return list(dict.fromkeys(wanted))


def check_object(kind: str, name: str, kube: Kubernetes) -> Iterator[Finding]:
    """A Secret, ConfigMap or ServiceAccount exists; its content is not looked at."""
    if kube.find(f"/api/v1/namespaces/{kube.namespace}/{kind.lower()}s/{name}") is None:
        yield Finding("problem", kind, f"namespace {kube.namespace} has no {kind} {name}")
    else:
        yield Finding("ok", kind, name)


def named_classes(document: Document, options: ClusterOptions) -> dict[tuple[str, str], list[str]]:
    """The classes that pods ask for, by (kind, name), each with the options that name it; groups without pods ask for none."""
    named = [("PriorityClass", options.jobs.priority_class, "cluster.jobs.priority_class")]
    for group in most_pods(document, options):
        pod: PodOptions = getattr(options.ray, group)
        place = f"cluster.ray.{group}"
        named.append(("PriorityClass", pod.priority_class, f"{place}.priority_class"))
        named.append(("RuntimeClass", pod.runtime_class, f"{place}.runtime_class"))
        named.append(("StorageClass", pod.cache.storage_class, f"{place}.cache.storage_class"))
    places: dict[tuple[str, str], list[str]] = {}
    for kind, name, place in named:
        if name:
            places.setdefault((kind, name), []).append(place)
    return places


def check_class(kind: str, name: str, places: list[str], kube: Kubernetes) -> Iterator[Finding]:
    """A class exists; `places` are the options that name it."""
    if kube.find(f"{CLASSES[kind]}/{name}") is None:
        by = f"{', '.join(places)} {'names' if len(places) == 1 else 'name'} it"
        yield Finding("problem", kind, f"the cluster has no {kind} {name}; {by}")
    else:
        yield Finding("ok", kind, name)


# --- nodes ------------------------------------------------------------------------------------------------------------------------


def check_places(document: Document, options: ClusterOptions, kube: Kubernetes) -> Iterator[Finding]:
    """For each group that a stage uses there is a node, and the images are on nodes or can be pulled."""
    try:
        nodes: list[dict[str, Any]] | None = kube.items("/api/v1/nodes")
    except ForbiddenError:
        nodes = None
        yield Finding("warning", "nodes", "this account may not list nodes, so their sizes and GPUs were not checked")
    groups = most_pods(document, options)
    if nodes is not None and groups:
        growing = autoscaler(kube, nodes)
        for group, count in groups.items():
            yield from check_group(document, group, getattr(options.ray, group), count, nodes, growing)
    yield from check_images(images_of(document, options), options, nodes or [])


def autoscaler(kube: Kubernetes, nodes: list[dict[str, Any]]) -> str | None:
    """What seems to add nodes to this cluster, by its traces; None where there are none."""
    labels = {name for node in nodes for name in node["metadata"].get("labels", {})}
    if pool := next((name for name in NODE_POOLS if name in labels), None):
        return f"node pools ({pool})"
    try:
        if kube.find("/apis/karpenter.sh") is not None:
            return "Karpenter"
        if kube.find("/api/v1/namespaces/kube-system/configmaps/cluster-autoscaler-status") is not None:
            return "cluster-autoscaler"
    except ForbiddenError:
        pass
    return None


def most_pods(document: Document, options: ClusterOptions) -> dict[str, int]:
    """Most pods that a stage has of each group, groups without pods left out; none at all on a Ray cluster that exists."""
    if options.ray.mode == "external":
        return {}
    groups = {"head": 1}
    for stage in options.stages.values():
        if stage.enabled:
            for group, pods in pods_of(document, stage, options).items():
                groups[group] = max(groups.get(group, 0), pods)
    return {group: pods for group, pods in groups.items() if pods}


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
    document: Document, group: str, pod: PodOptions, count: int, nodes: list[dict[str, Any]], growing: str | None
) -> Iterator[Finding]:
    """Nodes for one group of Ray pods. `growing` names what may add nodes: what is not there now may then come."""
    subject = f"{group} pods"
    wanted = {"cpu": quantity(pod.cpu_request or str(pod.cpus)), "memory": quantity(pod.memory)}
    if pod.gpus:
        wanted[pod.gpu_resource] = float(pod.gpus)
    absent: Level = "warning" if growing else "problem"
    come = f"; {growing} would have to bring one" if growing else ""
    ready = [node for node in nodes if not node["spec"].get("unschedulable")]
    fitting = [node for node in ready if _has(node, wanted)]
    if not fitting:
        cordoned = sum(_has(node, wanted) for node in nodes)
        aside = f"; {cordoned} that would do {'is' if cordoned == 1 else 'are'} cordoned" if cordoned else ""
        yield Finding(absent, subject, f"{shortage(wanted, ready)}{aside}{come}")
        return
    selected = [
        n for n in fitting if all(n["metadata"].get("labels", {}).get(k) == v for k, v in pod.node_selector.items())
    ]
    if not selected:
        sentence = f"no node that is large enough has the labels {pod.node_selector}"
        yield Finding(absent, subject, f"{sentence}{come or '; correct node_selector'}")
        return
    open_to = [n for n in selected if _tolerated(n, pod.tolerations)]
    if not open_to:
        taints = sorted(
            {f"{t['key']}={t.get('value', '')}:{t['effect']}" for n in selected for t in n["spec"].get("taints", [])}
        )
        yield Finding(
            "problem",
            subject,
            f"every node that fits has a taint that is not tolerated ({', '.join(taints)}); add it to cluster.ray.{group}.tolerations",
        )
        return
    room = sum(_room(node, wanted) for node in open_to)
    yield Finding(
        "ok" if room >= count else "warning",
        subject,
        f"{len(open_to)} node{'s' if len(open_to) > 1 else ''} with room for {room} of {count} pods when they are empty",
    )
    if group == "gpu":
        yield from check_gpu_memory(document, pod, open_to)


def shortage(wanted: dict[str, float], nodes: list[dict[str, Any]]) -> str:
    """What no node has of what a pod wants, as a sentence; where GPUs are wanted, nodes without enough of them do not count for the rest."""
    among = "node"
    for resource, amount in sorted(wanted.items(), key=lambda item: item[0] in ("cpu", "memory")):
        most = max((_allocatable(node, resource) for node in nodes), default=0.0)
        if most < amount:
            return f"no {among} has {described(resource, amount)} (the largest has {described(resource, most)})"
        if resource not in ("cpu", "memory"):
            nodes = [node for node in nodes if _allocatable(node, resource) >= amount]
            among = f"node with {described(resource, amount)}"
    rest = [described(resource, wanted[resource]) for resource in ("cpu", "memory")]
    return f"no {among} has {' and '.join(rest)} together"


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


# --- images -----------------------------------------------------------------------------------------------------------------------


def images_of(document: Document, options: ClusterOptions) -> list[str]:
    """The images that the release's pods run, each once: those of the Jobs, and of every group of every stage."""
    named = {"data": options.image.data, "train": options.image.train}
    wanted = ["data"]
    for stage in options.stages.values():
        if stage.enabled and options.ray.mode != "external":
            used = {"head": 1, **pods_of(document, stage, options)}
            wanted += [getattr(options.ray, group).image or stage.image for group, pods in used.items() if pods]
    return list(dict.fromkeys(named.get(image, image) for image in wanted))


def check_images(images: list[str], options: ClusterOptions, nodes: list[dict[str, Any]]) -> Iterator[Finding]:
    """Images that are on no node have to be pulled; one that cannot be is a problem, and whether another can is not known from here."""
    lists = [node.get("status", {}).get("images", []) for node in nodes]
    # An image whose name a newer one was given has null for names.
    known = {full_name(name) for found in lists for image in found for name in image.get("names") or []}
    whole = bool(lists) and all(len(found) < LISTED_IMAGES for found in lists)
    absent = [image for image in images if full_name(image) not in known]
    pulled = []
    for image in absent:
        if not image.startswith("localhost/") and options.image.pull_policy != "Never":
            pulled.append(image)
        elif whole:
            sentence = (
                "is on no node and cannot be pulled; load it (make images-load), or push it and set cluster.image"
            )
            yield Finding("problem", "image", f"{image} {sentence}")
        else:
            sentence = (
                "cannot be pulled, and whether nodes have it cannot be seen from here; load it (make images-load)"
            )
            yield Finding("note", "image", f"{image} {sentence}")
    here = [image for image in images if image not in absent]
    if here:
        yield Finding("ok", "image", f"{', '.join(here)} on nodes")
    if pulled:
        secrets = ", ".join(options.image.pull_secrets)
        how = f"the Secret {secrets}" if secrets else "no Secret (cluster.image.pull_secrets)"
        yield Finding(
            "note", "image", f"cannot be checked from here: {', '.join(pulled)}; nodes will pull it with {how}"
        )


def full_name(image: str) -> str:
    """An image's name as nodes list it: with registry and tag."""
    first, slash, _ = image.partition("/")
    if not slash:
        image = f"docker.io/library/{image}"
    elif first != "localhost" and not {".", ":"} & set(first):
        image = f"docker.io/{image}"
    return image if ":" in image.rsplit("/", 1)[-1] else f"{image}:latest"


# --- the queue --------------------------------------------------------------------------------------------------------------------


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


def _tolerated(node: dict[str, Any], tolerations: Sequence[Mapping[str, Any]]) -> bool:
    for taint in node["spec"].get("taints", []):
        if taint["effect"] not in ("NoSchedule", "NoExecute"):
            continue
        if not any(_tolerates(toleration, taint) for toleration in tolerations):
            return False
    return True


def _tolerates(toleration: Mapping[str, Any], taint: dict[str, Any]) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return toleration.get("key") == taint["key"] and toleration.get("value", "") == taint.get("value", "")
