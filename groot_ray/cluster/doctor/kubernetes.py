"""Checks of a Kubernetes cluster: namespace, KubeRay, Secrets, classes, nodes, images, the queue.

If this account may not read something, a warning says what was not checked, and the other checks continue.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from groot_ray.cluster.doctor.findings import Finding
from groot_ray.cluster.doctor.images import check_images
from groot_ray.cluster.doctor.nodes import autoscaler, check_group
from groot_ray.cluster.doctor.wanted import images_of, most_pods, named_classes, named_objects
from groot_ray.cluster.kube.api import ForbiddenError, Kubernetes
from groot_ray.experiment.cluster import ClusterOptions
from groot_ray.experiment.document import Document

KUBERAY_OLDEST = (1, 5, 1)

CLASSES = {  # API paths of kinds without a namespace
    "PriorityClass": "/apis/scheduling.k8s.io/v1/priorityclasses",
    "RuntimeClass": "/apis/node.k8s.io/v1/runtimeclasses",
    "StorageClass": "/apis/storage.k8s.io/v1/storageclasses",
}


def check_cluster(document: Document, kube: Kubernetes) -> Iterator[Finding]:
    """Check that Kubernetes has what the release will ask for."""
    options = document.cluster or ClusterOptions()
    space = kube.namespace
    yield from allowed("namespace", f"read namespace {space}", "whether it exists", check_namespace(kube))
    if options.ray.mode == "kuberay":
        yield from allowed("KubeRay", "list Deployments of all namespaces", "KubeRay's version", check_kuberay(kube))
    for kind, name in named_objects(options):
        check = check_object(kind, name, kube)
        yield from allowed(kind, f"read {kind}s in namespace {space}", f"whether {name} exists", check)
    for (kind, name), named_by in named_classes(document, options).items():
        check = check_class(kind, name, named_by, kube)
        yield from allowed(kind, f"read {kind}es", f"whether {name} exists", check)
    yield from check_nodes(document, options, kube)
    if options.queue:
        check = check_queue(options.queue, kube)
        yield from allowed("queue", f"read LocalQueues in namespace {space}", f"whether {options.queue} exists", check)


def allowed(subject: str, what: str, unchecked: str, found: Iterator[Finding]) -> Iterator[Finding]:
    """The findings of a check, or a warning if this account may not do `what`."""
    try:
        yield from found
    except ForbiddenError:
        yield Finding("warning", subject, f"this account may not {what}, so {unchecked} was not checked")


def check_namespace(kube: Kubernetes) -> Iterator[Finding]:
    """Check that the namespace exists."""
    if kube.find(f"/api/v1/namespaces/{kube.namespace}") is None:
        sentence = f"{kube.namespace} does not exist; run kubectl create namespace {kube.namespace}"
        yield Finding("problem", "namespace", sentence)


def check_kuberay(kube: Kubernetes) -> Iterator[Finding]:
    """Check for KubeRay's CRDs and a recent operator."""
    if kube.find("/apis/ray.io/v1") is None:
        sentence = "this cluster has no RayClusters (CRD ray.io/v1)"
        advice = "install KubeRay 1.5.1 or newer, or use cluster.ray.mode: static"
        yield Finding("problem", "KubeRay", f"{sentence}; {advice}")
        return
    operators = [
        (container["image"], int(deployment.get("status", {}).get("readyReplicas") or 0))
        for deployment in kube.items("/apis/apps/v1/deployments")
        for container in deployment["spec"]["template"]["spec"]["containers"]
        if "kuberay" in container["image"] and "operator" in container["image"]
    ]
    if not operators:
        yield Finding("warning", "KubeRay", "its CRDs exist but no Deployment looks like its operator")
    for image, ready in operators:
        yield _about_operator(image, ready)


def _about_operator(image: str, ready: int) -> Finding:
    """The finding about an operator of this image with so many ready pods."""
    version = tuple(int(part) for part in image.rsplit(":v", 1)[-1].split("-")[0].split(".") if part.isdigit())
    if len(version) == 3 and version < KUBERAY_OLDEST:
        return Finding("problem", "KubeRay", f"{image} is older than 1.5.1 and makes no tokens; upgrade it")
    if not ready:
        return Finding("problem", "KubeRay", f"{image} is not ready; see kubectl get pods -A | grep kuberay")
    return Finding("ok", "KubeRay", image)


def check_object(kind: str, name: str, kube: Kubernetes) -> Iterator[Finding]:
    """Check that a Secret, ConfigMap or ServiceAccount exists; its content is not read."""
    if kube.find(f"/api/v1/namespaces/{kube.namespace}/{kind.lower()}s/{name}") is None:
        yield Finding("problem", kind, f"namespace {kube.namespace} has no {kind} {name}")
    else:
        yield Finding("ok", kind, name)


def check_class(kind: str, name: str, named_by: list[str], kube: Kubernetes) -> Iterator[Finding]:
    """Check that a class exists; `named_by` are the options that name it."""
    if kube.find(f"{CLASSES[kind]}/{name}") is None:
        by = f"{', '.join(named_by)} {'names' if len(named_by) == 1 else 'name'} it"
        yield Finding("problem", kind, f"the cluster has no {kind} {name}; {by}")
    else:
        yield Finding("ok", kind, name)


def check_nodes(document: Document, options: ClusterOptions, kube: Kubernetes) -> Iterator[Finding]:
    """Check that each group of pods has nodes, and that the images are on nodes or can be pulled."""
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


def check_queue(queue: str, kube: Kubernetes) -> Iterator[Finding]:
    """Check that the LocalQueue exists."""
    if kube.find("/apis/kueue.x-k8s.io/v1beta1") is None:
        yield Finding("problem", "queue", "this cluster has no Kueue; install it, or omit cluster.queue")
    elif kube.find(f"/apis/kueue.x-k8s.io/v1beta1/namespaces/{kube.namespace}/localqueues/{queue}") is None:
        yield Finding("problem", "queue", f"namespace {kube.namespace} has no LocalQueue {queue}")
    else:
        yield Finding("ok", "queue", queue)
