"""`groot-ray cluster status RELEASE`: each stage with its Job, pods and progress, and what to do about what does not get on."""

from __future__ import annotations

import logging
import socket
from functools import cached_property
from urllib.parse import urlsplit

from groot_ray.cluster.job.job import SUBMISSION
from groot_ray.cluster.kube.api import Kubernetes, from_kubeconfig
from groot_ray.cluster.kube.release import StageState, job_log, read_release
from groot_ray.cluster.status.pipeline import experiment_location, look, newest_work, planning_folder
from groot_ray.errors import GrootRayError, StoppedError
from groot_ray.experiment.document import Document
from groot_ray.progress import format_duration, format_value
from groot_ray.storage.client import effective_endpoint
from groot_ray.storage.lease import AttemptState, last_attempt
from groot_ray.storage.location import Location
from groot_ray.storage.status import read_status

log = logging.getLogger(__name__)


def show(release: str, namespace: str | None = None, context: str | None = None) -> str:
    """Render the state of a release as text.

    Raises:
        ConfigurationError: no kubeconfig, or no such release.
    """
    return describe(from_kubeconfig(context, namespace), release)


def describe(kube: Kubernetes, release: str) -> str:
    """Render the state of a release that `kube` sees in its namespace."""
    document, stages = read_release(kube, release)
    stored = Stored(document)
    lines = [f"experiment {document.experiment.name}, release {release} in namespace {kube.namespace}"]
    width = max(len(stage.name) for stage in stages) if stages else 0
    for stage in stages:
        if stage.job is None:  # finished Jobs are removed after a while
            stage.made = stored.is_done(stage.name)
        lines.append(f"  {stage.name:<{width}}  {stage.state:<8} {details(kube, stored, stage)}".rstrip())
        lines += [f"  {'':<{width}}  ! {sentence}" for sentence in dict.fromkeys(stage.advice)]
    return "\n".join(lines)


def details(kube: Kubernetes, stored: Stored, stage: StageState) -> str:
    """Job, Ray job, pods and progress of a stage in one line."""
    parts = []
    said = job_log(kube, stage)
    if stage.job is not None:
        parts.append(f"Job {stage.job['metadata']['name']}")
    if ray_job := stored.ray_job(stage.name) or said.ray_job():
        parts.append(f"Ray job {ray_job}")
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
        progress = stored.progress(stage.name) if stage.state == "running" else ""
        progress = progress or said.progress()
        if progress:
            parts.append(progress)
    return "; ".join(parts)


class Stored:
    """What storage tells of an experiment's stages; nothing where it cannot be reached from here."""

    def __init__(self, document: Document) -> None:
        self.document = document

    @cached_property
    def root(self) -> Location | None:
        """The experiment's folder, if it answers."""
        root = experiment_location(self.document)
        return root if answers(root) else None

    def is_done(self, stage: str) -> bool:
        """Whether the stage's manifest is there."""
        try:
            return self.root is not None and look(self.document, stage).done
        except GrootRayError:
            return False

    def progress(self, stage: str) -> str:
        """The stage's newest status in one line."""
        try:
            folder = newest_work(self.root, stage) if self.root is not None else None
            status = read_status(folder) if folder is not None else None
        except GrootRayError:
            return ""
        return progress_line(status) if status else ""

    def ray_job(self, stage: str) -> str:
        """Id and state of the Ray job of the stage's last attempt that a Job made."""
        try:
            if self.root is None:
                return ""
            folders = (newest_work(self.root, stage), planning_folder(self.document, stage))
            found = [last for folder in folders if folder is not None and (last := last_attempt(folder)) is not None]
        except GrootRayError:
            return ""
        sent = [attempt for attempt in found if SUBMISSION in attempt.holder]
        if not sent:
            return ""
        last = next((attempt for attempt in sent if not attempt.ended), sent[0])
        return f"{last.holder[SUBMISSION]} {ray_state(last)}"


def ray_state(attempt: AttemptState) -> str:
    """What Ray would call the state of an attempt's job."""
    if not attempt.ended:
        return "RUNNING" if attempt.alive else "LOST"
    return {0: "SUCCEEDED", StoppedError.exit_code: "STOPPED"}.get(attempt.code or 0, "FAILED")


def answers(root: Location, seconds: float = 2.0) -> bool:
    """Whether storage can be reached from this machine; endpoints inside a cluster mostly cannot."""
    endpoint = None if root.is_local else effective_endpoint(root.endpoint)
    if endpoint is None:
        return True
    try:
        parts = urlsplit(endpoint)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        log.warning(
            "the storage endpoint %s is no address (%s); correct experiment.storage.endpoint or AWS_ENDPOINT_URL_S3",
            endpoint,
            error,
        )
        return False
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=seconds):
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
