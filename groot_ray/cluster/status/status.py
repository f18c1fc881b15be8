"""`groot-ray cluster status RELEASE`: each stage with its Job, pods and progress, and advice if it is stuck."""

from __future__ import annotations

from typing import Any

from groot_ray.cluster.kube.access import from_kubeconfig
from groot_ray.cluster.kube.api import Kubernetes
from groot_ray.cluster.kube.job_log import job_log
from groot_ray.cluster.kube.release import StageObjects, read_release
from groot_ray.cluster.status.stored import Stored


def show(release: str, namespace: str | None = None, context: str | None = None) -> str:
    """Render the state of a release as text.

    Raises:
        ConfigurationError: no kubeconfig, or no such release.
    """
    return describe(from_kubeconfig(context, namespace), release)


def describe(kube: Kubernetes, release: str) -> str:
    """Render the state of a release in the namespace of `kube`."""
    document, stages = read_release(kube, release)
    stored = Stored(document)
    lines = [f"experiment {document.experiment.name}, release {release} in namespace {kube.namespace}"]
    width = max(len(stage.name) for stage in stages) if stages else 0
    for stage in stages:
        # Kubernetes removes finished Jobs after a while.
        state = "done" if stage.job is None and stored.is_done(stage.name) else stage.state
        lines.append(f"  {stage.name:<{width}}  {state:<8} {details(kube, stored, stage)}".rstrip())
        lines += [f"  {'':<{width}}  ! {sentence}" for sentence in dict.fromkeys(stage.advice)]
    return "\n".join(lines)


def details(kube: Kubernetes, stored: Stored, stage: StageObjects) -> str:
    """Job, Ray job, pods and progress of a stage in one line."""
    parts = []
    said = job_log(kube, stage)
    if stage.job is not None:
        parts.append(f"Job {stage.job['metadata']['name']}")
    if ray_job := stored.ray_job(stage.name) or said.ray_job():
        parts.append(f"Ray job {ray_job}")
    if stage.ray:
        parts.append(_ready_pods(stage.ray))
    elif stage.cluster is not None:
        parts.append("Ray cluster without pods")
    if stage.state in ("running", "waiting"):
        progress = stored.progress(stage.name) if stage.state == "running" else ""
        progress = progress or said.progress()
        if progress:
            parts.append(progress)
    return "; ".join(parts)


def _ready_pods(pods: list[dict[str, Any]]) -> str:
    """How many Ray pods of each group are ready."""
    groups: dict[str, list[bool]] = {}
    for pod in pods:
        group = pod["metadata"].get("labels", {}).get("groot-ray/group", "?")
        groups.setdefault(group, []).append(_ready(pod))
    return "Ray pods ready: " + ", ".join(f"{name} {sum(ready)}/{len(ready)}" for name, ready in sorted(groups.items()))


def _ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
