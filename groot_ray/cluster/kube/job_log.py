"""What a stage's Job has printed, as far as Kubernetes still has it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from groot_ray.cluster.kube.api import Kubernetes
from groot_ray.cluster.kube.release import StageObjects


@dataclass(frozen=True)
class JobLog:
    """Beginning and end of the log of a stage's newest Job pod: its own lines, mixed with its driver's."""

    beginning: str
    end: str

    def ray_job(self) -> str:
        """The Ray job that it named last and its state (`ID RUNNING`); empty before the first.

        A long log lacks its middle, so the record in storage is better, if it can be read.
        """
        said = re.findall(r"Ray job (\S+) is ([A-Z]+)", f"{self.beginning}\n{self.end}")
        return " ".join(said[-1]) if said else ""

    def progress(self) -> str:
        """The newest line of progress, or the last line."""
        lines = [line for line in self.end.splitlines() if line.strip()]
        telling = [line for line in lines if re.search(r"\d+/\d+ \w+,|loss", line)]
        return (telling or lines or [""])[-1].strip()[-200:]


def job_log(kube: Kubernetes, stage: StageObjects) -> JobLog:
    """The readable part of the log of a stage's Job."""
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
