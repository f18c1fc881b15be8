"""A release as Kubernetes shows it: the Job, pods, Ray cluster and advice of each stage, and what its Job printed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from groot_ray.cluster.kube.advice import advise_events, advise_job, advise_pod, advise_queue
from groot_ray.cluster.kube.api import ApiError, Kubernetes
from groot_ray.errors import ConfigurationError, GrootRayError
from groot_ray.experiment.document import Document, build_document


@dataclass
class StageObjects:
    """The Kubernetes objects of one stage of a release, as the API returns them.

    Attributes:
        job: its newest Job; None if that was removed.
        pods: pods of the Job.
        cluster: its RayCluster.
        ray: pods of Ray.
        advice: sentences about what is stuck.
    """

    name: str
    job: dict[str, Any] | None
    pods: list[dict[str, Any]] = field(default_factory=list)
    cluster: dict[str, Any] | None = None
    ray: list[dict[str, Any]] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)

    @property
    def state(self) -> str:
        """waiting, running, done, failed or gone, in one word."""
        if self.job is None:
            return "gone"
        status = self.job.get("status", {})
        kinds = {c["type"] for c in status.get("conditions", []) if c.get("status") == "True"}
        if kinds & {"Complete", "SuccessCriteriaMet"}:
            return "done"
        if kinds & {"Failed", "FailureTarget"}:
            return "failed"
        if self.ray or self.cluster is not None:
            return "running"
        return "waiting"


@dataclass(frozen=True)
class NamespaceObjects:
    """A release's objects in a namespace, and the reasons why it is stuck. `nodes`: None if they may not be listed."""

    jobs: list[dict[str, Any]]
    pods: list[dict[str, Any]]
    clusters: list[dict[str, Any]]
    workloads: list[dict[str, Any]]
    events: list[dict[str, Any]]
    nodes: list[dict[str, Any]] | None


def short_name(release: str) -> str:
    """The prefix of a release's objects, as the chart's template groot.full makes it: a DNS-1035 label, 25 letters."""
    if re.fullmatch(r"[a-z]([-a-z0-9]{0,23}[a-z0-9])?", release):
        return release
    letters = re.sub("[._]", "-", release).lower()
    letters = letters if letters[:1].isalpha() else f"r{letters}"
    return f"{letters[:18].rstrip('-')}-{hashlib.sha256(release.encode()).hexdigest()[:6]}"


def read_release(kube: Kubernetes, release: str) -> tuple[Document, list[StageObjects]]:
    """Read the document of a release, and its stages' objects in the pipeline's order.

    Raises:
        ConfigurationError: there is no such release in the namespace.
    """
    full, space = short_name(release), kube.namespace
    found = kube.find(f"/api/v1/namespaces/{space}/configmaps/{full}")
    if found is None or "document.json" not in (found.get("data") or {}):
        raise ConfigurationError(f"namespace {space} has no release {release!r} of groot-experiment{_others(kube)}")
    document = build_document(json.loads(found["data"]["document.json"]), None, f"release {release}")
    settings = {name[6:-5]: json.loads(text) for name, text in found["data"].items() if name.startswith("stage-")}
    objects = _read_objects(kube, full)
    return document, [_objects_of(name, objects) for name in in_order(settings)]


def _read_objects(kube: Kubernetes, full: str) -> NamespaceObjects:
    space, select = kube.namespace, {"labelSelector": f"groot-ray/release={full}"}
    try:
        nodes = kube.items("/api/v1/nodes")
    except GrootRayError:
        nodes = None
    return NamespaceObjects(
        jobs=kube.items(f"/apis/batch/v1/namespaces/{space}/jobs", **select),
        pods=kube.items(f"/api/v1/namespaces/{space}/pods", **select),
        clusters=_optional(kube, f"/apis/ray.io/v1/namespaces/{space}/rayclusters", **select),
        workloads=_optional(kube, f"/apis/kueue.x-k8s.io/v1beta1/namespaces/{space}/workloads"),
        events=_optional(kube, f"/api/v1/namespaces/{space}/events"),
        nodes=nodes,
    )


def _objects_of(name: str, there: NamespaceObjects) -> StageObjects:
    """The objects of one stage, with advice."""
    jobs = [job for job in there.jobs if _label(job, "stage") == name]
    pods = [pod for pod in there.pods if _label(pod, "stage") == name]
    stage = StageObjects(name, max(jobs, key=lambda job: str(job["metadata"]["creationTimestamp"]), default=None))
    stage.pods = [pod for pod in pods if _label(pod, "component") == "job"]
    stage.ray = [pod for pod in pods if _label(pod, "component") == "ray"]
    stage.cluster = next((cluster for cluster in there.clusters if _label(cluster, "stage") == name), None)
    stage.advice = list(_advise(stage, there))
    return stage


def _advise(stage: StageObjects, there: NamespaceObjects) -> Iterator[str]:
    if stage.job is not None:
        yield from advise_job(stage.job, stage.pods)
    for pod in [*stage.pods, *stage.ray]:
        if pod.get("status", {}).get("phase") != "Succeeded":
            yield from advise_pod(pod, there.nodes)
    if stage.cluster is not None:
        yield from advise_queue(stage.cluster, there.workloads)
    if stage.state in ("running", "waiting"):
        makers = [item["metadata"]["uid"] for item in (stage.job, stage.cluster) if item is not None]
        yield from advise_events([e for e in there.events if e.get("involvedObject", {}).get("uid") in makers])


def in_order(settings: dict[str, dict[str, Any]]) -> list[str]:
    """Names of stages, each after the one that it waits for, from the settings by name."""
    order: list[str] = []

    def visit(name: str, above: tuple[str, ...] = ()) -> None:
        if name in order or name not in settings or name in above:
            return
        if settings[name].get("after"):
            visit(settings[name]["after"], (*above, name))
        order.append(name)

    for name in sorted(settings):
        visit(name)
    return order


def _label(item: dict[str, Any], name: str) -> str | None:
    label = item["metadata"].get("labels", {}).get(f"groot-ray/{name}")
    return None if label is None else str(label)


def _optional(kube: Kubernetes, path: str, **query: str) -> list[dict[str, Any]]:
    """Objects of a kind that the cluster may not have or this account may not list; then none."""
    try:
        return kube.items(path, **query)
    except (ApiError, ConfigurationError):
        return []


def _others(kube: Kubernetes) -> str:
    try:
        found = kube.items(
            f"/api/v1/namespaces/{kube.namespace}/configmaps", labelSelector="app.kubernetes.io/name=groot-experiment"
        )
    except GrootRayError:
        return ""
    names = sorted({item["metadata"]["labels"].get("app.kubernetes.io/instance", "") for item in found})
    return f"; there is {', '.join(names)}" if names else ""
