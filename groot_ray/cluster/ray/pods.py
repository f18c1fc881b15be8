"""The Ray pods of a stage, and what its head waits for."""

from __future__ import annotations

from typing import Any

from groot_ray.cluster.kube.api import Kubernetes
from groot_ray.cluster.kube.settings import StageSettings


def ray_pods(kube: Kubernetes, settings: StageSettings) -> list[dict[str, Any]]:
    """Ray pods of the stage that have not ended."""
    selector = f"groot-ray/release={settings.release},groot-ray/stage={settings.stage},groot-ray/component=ray"
    pods = kube.items(f"/api/v1/namespaces/{settings.namespace}/pods", labelSelector=selector)
    return [pod for pod in pods if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")]


def head_pods(kube: Kubernetes, settings: StageSettings) -> list[dict[str, Any]]:
    """Pods of the stage's head that have not ended."""
    return [pod for pod in ray_pods(kube, settings) if _labels(pod).get("groot-ray/group") == "head"]


def cluster_of(pod: dict[str, Any]) -> str:
    """Name prefix of the StatefulSets that a Ray pod belongs to; empty for pods of a RayCluster."""
    return str(_labels(pod).get("groot-ray/cluster", ""))


def head_waits_for(heads: list[dict[str, Any]]) -> str | None:
    """Why no node has been found for the head's pods; None if one was, or if there is no such pod yet."""
    if not heads or any(pod["spec"].get("nodeName") for pod in heads):
        return None
    name = heads[0]["metadata"]["name"]
    for condition in heads[0].get("status", {}).get("conditions", []):
        if condition.get("type") == "PodScheduled" and condition.get("status") != "True":
            return f"the head's pod {name} waits for a node: {condition.get('message') or condition.get('reason')}"
    return f"the head's pod {name} waits for a node"


def _labels(pod: dict[str, Any]) -> dict[str, Any]:
    return dict(pod["metadata"].get("labels") or {})
