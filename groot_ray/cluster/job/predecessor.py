"""Watches the predecessor's Job: whether it failed, or no Job is left to produce what this stage waits for."""

from __future__ import annotations

import time
from typing import Any

from groot_ray.cluster.kube.api import Kubernetes
from groot_ray.cluster.kube.settings import StageSettings
from groot_ray.errors import ServiceUnavailableError
from groot_ray.experiment.document import Document
from groot_ray.stages.place import planning_folder
from groot_ray.stages.state import StageState, inspect_stage
from groot_ray.storage.lease import last_attempt
from groot_ray.storage.location import Location

ABANDONED_AFTER = 120.0  # seconds without anything that could produce the result


class Predecessor:
    """The predecessor's Job, and the time since when nothing produces its result."""

    def __init__(self, document: Document, settings: StageSettings, kube: Kubernetes | None) -> None:
        self.document = document
        self.settings = settings
        self.kube = kube
        self._abandoned_since: float | None = None

    def lost(self, stage: StageState) -> str:
        """Why the inputs of `stage` will never exist, as a sentence; empty if they may, or if it is unknown."""
        if self.kube is None or not self.settings.after_job:
            return ""
        try:
            job = self.kube.find(f"/apis/batch/v1/namespaces/{self.settings.namespace}/jobs/{self.settings.after_job}")
            conditions = true_conditions(job)
            if "Failed" in conditions:
                return self._failed(conditions["Failed"])
            has_ended = job is None or "Complete" in conditions
            if not has_ended or self._is_made_elsewhere(stage):
                self._abandoned_since = None
                return ""
        except ServiceUnavailableError:
            return ""
        self._abandoned_since = self._abandoned_since or time.monotonic()
        if time.monotonic() - self._abandoned_since <= ABANDONED_AFTER:
            return ""
        return (
            f"nobody makes the result of stage {self.settings.after}: its Job {self.settings.after_job} "
            f"{'no longer exists' if job is None else 'is complete'} and left none; "
            "change the text of cluster.rerun and run helm upgrade, which makes new Jobs"
        )

    def _failed(self, condition: dict[str, Any]) -> str:
        reason = condition.get("message") or condition.get("reason")
        logs = f"kubectl -n {self.settings.namespace} logs job/{self.settings.after_job}"
        return f"stage {self.settings.after} has failed ({reason}); see {logs}"

    def _is_made_elsewhere(self, stage: StageState) -> bool:
        """Whether somebody else, such as a laptop, works on what the stage waits for."""
        names = {name for name in (self.settings.after, stage.waits_for) if name is not None}
        folders = [inspect_stage(self.document, name).folder for name in names]
        return any(map(_is_at_work, [*folders, *(planning_folder(self.document.experiment, name) for name in names)]))


def true_conditions(job: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """The true conditions of a Job, by type."""
    conditions = (job or {}).get("status", {}).get("conditions", [])
    return {str(condition.get("type")): condition for condition in conditions if condition.get("status") == "True"}


def _is_at_work(folder: Location) -> bool:
    last = last_attempt(folder)
    return last is not None and last.alive
