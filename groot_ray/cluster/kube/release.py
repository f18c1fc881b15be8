"""A release as Kubernetes and storage show it: stages with their Jobs, pods, Ray clusters and progress."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from groot_ray.cluster.kube.advice import advise_events, advise_job, advise_pod, advise_queue
from groot_ray.cluster.kube.api import ApiError, Kubernetes
from groot_ray.errors import ConfigurationError, GrootRayError
from groot_ray.experiment.document import Document, build_document


@dataclass
class StageState:
    """One stage of a release."""

    name: str
    job: dict[str, Any] | None
    pods: list[dict[str, Any]] = field(default_factory=list)
    cluster: dict[str, Any] | None = None
    ray: list[dict[str, Any]] = field(default_factory=list)
    made: bool = False  # storage has its manifest
    advice: list[str] = field(default_factory=list)

    @property
    def state(self) -> str:
        """waiting, running, done, failed or gone, in one word."""
        if self.job is None:
            return "done" if self.made else "gone"
        status = self.job.get("status", {})
        kinds = {c["type"] for c in status.get("conditions", []) if c.get("status") == "True"}
        if kinds & {"Complete", "SuccessCriteriaMet"}:
            return "done"
        if kinds & {"Failed", "FailureTarget"}:
            return "failed"
        if self.ray or self.cluster is not None:
            return "running"
        return "waiting"


def short_name(release: str) -> str:
    """The prefix that the chart gives to a release's objects (template groot.full): a DNS-1035 label of at most 25 letters."""
    if re.fullmatch(r"[a-z]([-a-z0-9]{0,23}[a-z0-9])?", release):
        return release
    letters = re.sub("[._]", "-", release).lower()
    letters = letters if letters[:1].isalpha() else f"r{letters}"
    return f"{letters[:18].rstrip('-')}-{hashlib.sha256(release.encode()).hexdigest()[:6]}"


def read_release(kube: Kubernetes, release: str) -> tuple[Document, list[StageState]]:
    """Everything that Kubernetes knows of a release.

    Raises:
        ConfigurationError: there is no such release in the namespace.
    """
    full, space = short_name(release), kube.namespace
    found = kube.find(f"/api/v1/namespaces/{space}/configmaps/{full}")
    if found is None or "document.json" not in (found.get("data") or {}):
        raise ConfigurationError(f"namespace {space} has no release {release!r} of groot-experiment{_others(kube)}")
    document = build_document(json.loads(found["data"]["document.json"]), None, f"release {release}")
    select = {"labelSelector": f"groot-ray/release={full}"}
    jobs = kube.items(f"/apis/batch/v1/namespaces/{space}/jobs", **select)
    pods = kube.items(f"/api/v1/namespaces/{space}/pods", **select)
    clusters = _optional(kube, f"/apis/ray.io/v1/namespaces/{space}/rayclusters", **select)
    workloads = _optional(kube, f"/apis/kueue.x-k8s.io/v1beta1/namespaces/{space}/workloads")
    events = _optional(kube, f"/api/v1/namespaces/{space}/events")
    try:
        nodes = kube.items("/api/v1/nodes")
    except GrootRayError:
        nodes = None
    told = {name[6:-5]: json.loads(text) for name, text in found["data"].items() if name.startswith("stage-")}
    stages = []
    for name in in_order(told):
        mine = [job for job in jobs if _label(job, "stage") == name]
        stage = StageState(name, max(mine, key=lambda job: job["metadata"]["creationTimestamp"], default=None))
        stage.pods = [p for p in pods if _label(p, "stage") == name and _label(p, "component") == "job"]
        stage.ray = [p for p in pods if _label(p, "stage") == name and _label(p, "component") == "ray"]
        stage.cluster = next((c for c in clusters if _label(c, "stage") == name), None)
        if stage.job is not None:
            stage.advice += advise_job(stage.job, stage.pods)
        for pod in [*stage.pods, *stage.ray]:
            if pod.get("status", {}).get("phase") not in ("Succeeded",):
                stage.advice += advise_pod(pod, nodes)
        if stage.cluster is not None:
            stage.advice += advise_queue(stage.cluster, workloads)
        if stage.state in ("running", "waiting"):
            makers = [item for item in (stage.job, stage.cluster) if item is not None]
            stage.advice += advise_events(
                [e for e in events if e.get("involvedObject", {}).get("uid") in [m["metadata"]["uid"] for m in makers]]
            )
        stages.append(stage)
    return document, stages


def in_order(told: dict[str, dict[str, Any]]) -> list[str]:
    """Stages, each after the one that it waits for."""
    order: list[str] = []

    def visit(name: str, above: tuple[str, ...] = ()) -> None:
        if name in order or name not in told or name in above:
            return
        if told[name].get("after"):
            visit(told[name]["after"], (*above, name))
        order.append(name)

    for name in sorted(told):
        visit(name)
    return order


@dataclass(frozen=True)
class JobLog:
    """Beginning and end of what a stage's newest Job pod has printed: its own lines and, between them, its driver's."""

    beginning: str
    end: str

    def ray_job(self) -> str:
        """The Ray job that it said last and its state (`ID RUNNING`), empty before the first.

        A long log lacks its middle, so storage's record is the better one, where it can be read.
        """
        said = re.findall(r"Ray job (\S+) is ([A-Z]+)", f"{self.beginning}\n{self.end}")
        return " ".join(said[-1]) if said else ""

    def progress(self) -> str:
        """The newest line of progress, or the last line."""
        lines = [line for line in self.end.splitlines() if line.strip()]
        telling = [line for line in lines if re.search(r"\d+/\d+ \w+,|loss", line)]
        return (telling or lines or [""])[-1].strip()[-200:]


def job_log(kube: Kubernetes, stage: StageState) -> JobLog:
    """What can be had of the log of a stage's Job."""
    pods = sorted(stage.pods, key=lambda pod: pod["metadata"].get("creationTimestamp") or "")
    if not pods:
        return JobLog("", "")
    path = f"/api/v1/namespaces/{kube.namespace}/pods/{pods[-1]['metadata']['name']}/log"
    return JobLog(_text(kube, f"{path}?limitBytes=65536"), _text(kube, f"{path}?tailLines=80"))


def _text(kube: Kubernetes, path: str) -> str:
    try:
        status, data = kube.transport("GET", path, None, "application/json")
    except OSError:
        return ""
    return data.decode(errors="replace") if status < 300 else ""


def _label(item: dict[str, Any], name: str) -> str | None:
    return item["metadata"].get("labels", {}).get(f"groot-ray/{name}")


def _optional(kube: Kubernetes, path: str, **query: str) -> list[dict[str, Any]]:
    """The objects of a kind that the cluster may not have, or that this account may not see."""
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
