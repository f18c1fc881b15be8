"""What the chart tells the Job of a stage: the release, its names, and the Ray cluster to make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from groot_ray.errors import ConfigurationError, TemporaryFailureError


class StageSettings(BaseModel):
    """One stage of a release; written by the chart's template groot.settings."""

    model_config = ConfigDict(extra="forbid")

    release: str  # short name: prefix of all object names and value of the label groot-ray/release
    instance: str  # the release's own name
    namespace: str
    stage: str
    mode: Literal["kuberay", "static", "external"]
    digest: str  # changes with everything that the Job reads
    cluster: str  # name of the RayCluster, or prefix of the StatefulSets
    owner: str  # ConfigMap that owns what the Job makes
    after: str | None = None
    after_job: str | None = None
    manifest: dict[str, Any] = {}
    replicas: dict[str, int] = {}
    address: str = ""
    former: list[str] = []  # RayCluster that this stage may have had before cluster.ray.mode was changed
    left: list[str] = []  # RayClusters that stages may have had which are not enabled any more

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

    Raises:
        TemporaryFailureError: the ConfigMap was changed after this pod was made; the release's new Job takes over.
    """
    try:
        told = StageSettings.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise TemporaryFailureError(f"{path} is gone: the release was changed or removed") from None
    except (ValueError, ValidationError) as error:
        raise ConfigurationError(f"{path} is not what the chart writes: {str(error).splitlines()[0]}") from None
    if digest and told.digest != digest:
        raise TemporaryFailureError("the release was changed after this pod was made; its new Job takes over")
    return told
