"""A release's stages in storage: results, progress and Ray jobs."""

from __future__ import annotations

import logging
import socket
from functools import cached_property
from urllib.parse import urlsplit

from groot_ray.cluster.job.record import SUBMISSION
from groot_ray.cluster.status.newest import newest_work
from groot_ray.cluster.status.progress import progress_line
from groot_ray.errors import GrootRayError, StoppedError
from groot_ray.experiment.document import Document
from groot_ray.stages.place import experiment_location, planning_folder
from groot_ray.stages.state import inspect_stage
from groot_ray.storage.client import effective_endpoint
from groot_ray.storage.lease import AttemptState, last_attempt
from groot_ray.storage.location import Location
from groot_ray.storage.status import read_status

log = logging.getLogger(__name__)


class Stored:
    """What storage has of an experiment's stages; nothing if it cannot be reached from here."""

    def __init__(self, document: Document) -> None:
        self.document = document

    @cached_property
    def root(self) -> Location | None:
        """The experiment's folder, if storage answers."""
        root = experiment_location(self.document.experiment)
        return root if answers(root) else None

    def is_done(self, stage: str) -> bool:
        """Whether the stage's manifest exists."""
        try:
            return self.root is not None and inspect_stage(self.document, stage).done
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
        """Id and state of the Ray job of the last attempt that a stage's Job started."""
        try:
            if self.root is None:
                return ""
            folders = (newest_work(self.root, stage), planning_folder(self.document.experiment, stage))
            found = [last for folder in folders if folder is not None and (last := last_attempt(folder)) is not None]
        except GrootRayError:
            return ""
        sent = [attempt for attempt in found if SUBMISSION in attempt.holder]
        if not sent:
            return ""
        last = next((attempt for attempt in sent if not attempt.ended), sent[0])
        return f"{last.holder[SUBMISSION]} {ray_state(last)}"


def ray_state(attempt: AttemptState) -> str:
    """The state of an attempt's job in Ray's words."""
    if not attempt.ended:
        return "RUNNING" if attempt.alive else "LOST"
    return {0: "SUCCEEDED", StoppedError.exit_code: "STOPPED"}.get(attempt.code or 0, "FAILED")


def answers(root: Location, seconds: float = 2.0) -> bool:
    """Whether storage can be reached from this machine; endpoints inside a cluster usually cannot."""
    endpoint = None if root.is_local else effective_endpoint(root.endpoint)
    if endpoint is None:
        return True
    try:
        parts = urlsplit(endpoint)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        log.warning(
            "the storage endpoint %s is not an address (%s); "
            "correct experiment.storage.endpoint or AWS_ENDPOINT_URL_S3",
            endpoint,
            error,
        )
        return False
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=seconds):
            return True
    except OSError:
        return False
