"""Whether the cluster's nodes have room for each group of Ray pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from groot_ray.cluster.doctor.findings import Finding, Level
from groot_ray.cluster.doctor.gpu_memory import check_gpu_memory
from groot_ray.cluster.kube.advice import described
from groot_ray.cluster.kube.api import ForbiddenError, Kubernetes
from groot_ray.experiment.cluster import PodOptions, quantity
from groot_ray.experiment.document import Document

NODE_POOLS = (  # labels of nodes in managed node pools
    "cloud.google.com/gke-nodepool",
    "eks.amazonaws.com/nodegroup",
    "kubernetes.azure.com/agentpool",
    "karpenter.sh/nodepool",
)


def autoscaler(kube: Kubernetes, nodes: list[dict[str, Any]]) -> str | None:
    """What seems to add nodes to this cluster; None if nothing does."""
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


def check_group(
    document: Document, group: str, pod: PodOptions, count: int, nodes: list[dict[str, Any]], growing: str | None
) -> Iterator[Finding]:
    """Check that nodes have room for a group of Ray pods.

    Args:
        group: name of the group: head, cpu or gpu.
        pod: options of its pods.
        count: most pods that a stage has of it.
        nodes: the cluster's nodes.
        growing: what may add nodes to the cluster; a missing node is then only a warning.
    """
    wanted = {"cpu": quantity(pod.cpu_request or str(pod.cpus)), "memory": quantity(pod.memory)}
    if pod.gpus:
        wanted[pod.gpu_resource] = float(pod.gpus)
    usable = _usable(group, pod, wanted, nodes, growing)
    if isinstance(usable, Finding):
        yield usable
        return
    room = sum(_room(node, wanted) for node in usable)
    number = f"{len(usable)} node{'s' if len(usable) > 1 else ''}"
    sentence = f"{number} with room for {room} of {count} pods when they are empty"
    yield Finding("ok" if room >= count else "warning", f"{group} pods", sentence)
    if group == "gpu":
        yield from check_gpu_memory(document, usable)


def _usable(
    group: str, pod: PodOptions, wanted: dict[str, float], nodes: list[dict[str, Any]], growing: str | None
) -> list[dict[str, Any]] | Finding:
    """The nodes that such a pod can run on, or why there are none."""
    subject = f"{group} pods"
    absent: Level = "warning" if growing else "problem"
    needed = f"; {growing} would have to add one" if growing else ""
    ready = [node for node in nodes if not node["spec"].get("unschedulable")]
    fitting = [node for node in ready if _has(node, wanted)]
    if not fitting:
        cordoned = sum(_has(node, wanted) for node in nodes)
        aside = f"; {cordoned} large enough {'is' if cordoned == 1 else 'are'} cordoned" if cordoned else ""
        return Finding(absent, subject, f"{shortage(wanted, ready)}{aside}{needed}")
    selected = [node for node in fitting if pod.node_selector.items() <= node["metadata"].get("labels", {}).items()]
    if not selected:
        sentence = f"no node that is large enough has the labels {pod.node_selector}"
        return Finding(absent, subject, f"{sentence}{needed or '; correct node_selector'}")
    tolerated = [node for node in selected if _tolerated(node, pod.tolerations)]
    if not tolerated:
        taints = sorted({_taint(taint) for node in selected for taint in node["spec"].get("taints", [])})
        sentence = f"every node that fits has a taint that is not tolerated ({', '.join(taints)})"
        return Finding("problem", subject, f"{sentence}; add it to cluster.ray.{group}.tolerations")
    return tolerated


def shortage(wanted: dict[str, float], nodes: list[dict[str, Any]]) -> str:
    """Describe the resources that no single node can provide. If GPUs are wanted, only nodes with enough GPUs count."""
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


def _allocatable(node: dict[str, Any], resource: str) -> float:
    return quantity(node.get("status", {}).get("allocatable", {}).get(resource, "0"))


def _has(node: dict[str, Any], wanted: dict[str, float]) -> bool:
    return all(_allocatable(node, resource) >= amount for resource, amount in wanted.items())


def _room(node: dict[str, Any], wanted: dict[str, float]) -> int:
    return int(min(_allocatable(node, resource) // amount for resource, amount in wanted.items() if amount))


def _taint(taint: dict[str, Any]) -> str:
    return f"{taint['key']}={taint.get('value', '')}:{taint['effect']}"


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
    return bool(toleration.get("key") == taint["key"] and toleration.get("value", "") == taint.get("value", ""))
