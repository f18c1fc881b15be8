"""`groot-ray cluster status RELEASE`: each stage with its Job, pods and progress, and what to do about what does not get on."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from groot_ray.cluster.api import Kubernetes, from_kubeconfig
from groot_ray.cluster.release import StageState, job_log_progress, read_release
from groot_ray.errors import GrootRayError
from groot_ray.experiment.document import Document
from groot_ray.progress import format_duration, format_value
from groot_ray.storage.client import effective_endpoint
from groot_ray.storage.location import Location


def show(release: str, namespace: str | None = None, context: str | None = None) -> str:
    """Render the state of a release as text.

    Raises:
        ConfigurationError: no kubeconfig, or no such release.
    """
    return describe(from_kubeconfig(context, namespace), release)


def describe(kube: Kubernetes, release: str) -> str:
    """Render the state of a release that `kube` sees in its namespace."""
    document, stages = read_release(kube, release)
    lines = [f"experiment {document.experiment.name}, release {release} in namespace {kube.namespace}"]
    width = max(len(stage.name) for stage in stages) if stages else 0
    for stage in stages:
        lines.append(f"  {stage.name:<{width}}  {stage.state:<8} {details(kube, document, stage)}".rstrip())
        lines += [f"  {'':<{width}}  ! {sentence}" for sentence in dict.fromkeys(stage.advice)]
    return "\n".join(lines)


def details(kube: Kubernetes, document: Document, stage: StageState) -> str:
    """Pods and progress of a stage in one line."""
    parts = []
    if stage.ray:
        groups: dict[str, list[bool]] = {}
        for pod in stage.ray:
            group = pod["metadata"].get("labels", {}).get("groot-ray/group", "?")
            groups.setdefault(group, []).append(_ready(pod))
        parts.append(
            "Ray pods ready: "
            + ", ".join(f"{name} {sum(ready)}/{len(ready)}" for name, ready in sorted(groups.items()))
        )
    elif stage.cluster is not None:
        parts.append("Ray cluster without pods")
    if stage.state in ("running", "waiting"):
        progress = stored_progress(document, stage.name) if stage.state == "running" else ""
        progress = progress or job_log_progress(kube, stage)
        if progress:
            parts.append(progress)
    return "; ".join(parts)


def stored_progress(document: Document, stage: str) -> str:
    """The stage's progress as it stands in storage, empty where storage cannot be reached from here."""
    from groot_ray.cluster.pipeline import experiment_location, newest_work
    from groot_ray.storage.status import read_status

    root = experiment_location(document)
    if not answers(root):
        return ""
    try:
        folder = newest_work(root, stage)
        status = read_status(folder) if folder is not None else None
    except GrootRayError:
        return ""
    return progress_line(status) if status else ""


def answers(root: Location, seconds: float = 2.0) -> bool:
    """Whether storage can be reached from this machine; endpoints inside a cluster mostly cannot."""
    endpoint = None if root.is_local else effective_endpoint(root.endpoint)
    if endpoint is None:
        return True
    parts = urlsplit(endpoint)
    try:
        with socket.create_connection(
            (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)), timeout=seconds
        ):
            return True
    except OSError:
        return False


def progress_line(status: dict) -> str:
    """One line for a `status.json`: step, loss, rate and time left."""
    if status.get("state") not in (None, "running"):
        return f"{status['state']}: {status.get('sentence', '')}".rstrip(": ")
    total = status.get("total")
    line = f"{status.get('work', '')} {status.get('done', 0):g}{f'/{total:g}' if total else ''} {status.get('unit', '')}".strip()
    for name, value in (status.get("fields") or {}).items():
        line += f", {name} {format_value(value)}"
    if status.get("remaining") is not None:
        line += f", {format_duration(status['remaining'])} left"
    return line


def _ready(pod: dict) -> bool:
    return any(
        c.get("type") == "Ready" and c.get("status") == "True" for c in pod.get("status", {}).get("conditions", [])
    )
