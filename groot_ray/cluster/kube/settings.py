"""What the chart passes to a stage's Job: the experiment document and the stage's settings, as JSON in a ConfigMap."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from groot_ray.errors import ConfigurationError, TemporaryFailureError
from groot_ray.experiment.document import Document, build_document


class StageSettings(BaseModel):
    """Settings of one stage of a release, written by the chart's template groot.settings."""

    model_config = ConfigDict(extra="forbid")

    release: str  # short name: prefix of all object names and value of the label groot-ray/release
    instance: str  # the release's own name
    namespace: str
    stage: str
    mode: Literal["kuberay", "static", "external"]
    digest: str  # version of the release; changes with everything that the Job reads
    cluster: str  # name of the RayCluster, or prefix of the StatefulSets
    owner: str  # ConfigMap that owns what the Job makes
    after: str | None = None
    after_job: str | None = None
    manifest: dict[str, Any] = {}
    replicas: dict[str, int] = {}
    address: str = ""
    former: list[str] = []  # RayClusters that this stage may have had before cluster.ray.mode was changed
    left: list[str] = []  # RayClusters of stages that are no longer enabled

    def growth(self, gpus_per_pod: int) -> dict[str, int]:
        """Worker pods and GPUs that this stage's Ray cluster can grow to."""
        if self.mode == "kuberay":
            groups = self.manifest.get("spec", {}).get("workerGroupSpecs") or []
            pods = {group["groupName"]: int(group["maxReplicas"]) for group in groups}
        else:
            pods = {group: number for group, number in self.replicas.items() if group != "head"}
        return {"pods": sum(pods.values()), "gpus": pods.get("gpu", 0) * gpus_per_pod}


def load_settings(path: Path, digest: str) -> StageSettings:
    """Read a stage's settings.

    Args:
        path: the file in the mounted ConfigMap.
        digest: version of the release that this pod was made for; empty to accept any.

    Raises:
        TemporaryFailureError: the ConfigMap was changed after this pod was made; the release's new Job takes over.
        ConfigurationError: the chart did not write this file.
    """
    try:
        settings = StageSettings.model_validate(_read(path))
    except (ValueError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise ConfigurationError(f"{path} is not a stage's settings as the chart writes them: {first}") from None
    if digest and settings.digest != digest:
        raise TemporaryFailureError("the release was changed after this pod was made; its new Job takes over")
    return settings


def load_release_document(path: Path) -> Document:
    """Read the document that the chart wrote. It is JSON, and no path in it is resolved.

    Raises:
        TemporaryFailureError: the ConfigMap no longer exists.
    """
    return build_document(_read(path), None, "the release's values")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TemporaryFailureError(f"{path} no longer exists; the release was changed or removed") from None
