"""How each stage gets a Ray cluster."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from groot_ray.experiment.cluster.environment import HttpAddress
from groot_ray.experiment.cluster.kubernetes import ObjectName, Quantity
from groot_ray.experiment.cluster.merge import merged
from groot_ray.experiment.cluster.pods import GROUPS, PodOptions, cpu_pod, gpu_pod, head_pod
from groot_ray.experiment.schema import Strict
from groot_ray.field_types import BILLION


class RayOptions(Strict):
    """The Ray cluster of each stage."""

    mode: Literal["kuberay", "static", "external"] = Field(
        "kuberay",
        description="kuberay: the stage's Job creates a RayCluster that scales from 0; static: StatefulSets that the "
        "Job scales, where there is no operator; external: a Ray cluster that exists",
    )
    version: str = Field("2.60.0", pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$", description="Ray version of the images")
    address: HttpAddress | None = Field(None, description="external: http address of the Ray dashboard (port 8265)")
    token_secret: ObjectName | None = Field(
        None,
        description="Secret with Ray's token under the key auth_token (static, external); with kuberay the operator "
        "creates one",
    )
    idle_timeout: int = Field(
        30, ge=1, le=BILLION, description="seconds after which the autoscaler removes an idle pod"
    )
    start_timeout: int = Field(
        1800,
        ge=10,
        le=BILLION,
        description="seconds in which a Ray head must answer once its pod has a node (pulling images takes long)",
    )
    save_seconds: int = Field(
        60,
        ge=1,
        le=1_000_000,
        description="measured time to save a checkpoint; grace periods of pods are derived from it",
    )
    head: PodOptions = Field(default_factory=head_pod, description="the head")
    cpu: PodOptions = Field(default_factory=cpu_pod, description="pods of the CPU group")
    gpu: PodOptions = Field(default_factory=gpu_pod, description="pods of the GPU group")
    autoscaler_memory: Quantity = Field("512Mi", description="memory of the autoscaler beside the head")
    autoscaler_cpu: Quantity = Field("100m", description="CPU request of the autoscaler")

    @model_validator(mode="before")
    @classmethod
    def _groups_keep_their_defaults(cls, data: Any) -> Any:
        """A partly given group keeps its other defaults, as Helm merges values."""
        if not isinstance(data, dict):
            return data
        given = {name: pod for name, pod in data.items() if name in GROUPS and isinstance(pod, dict)}
        return data | {name: merged(GROUPS[name]().model_dump(), pod) for name, pod in given.items()}

    @model_validator(mode="after")
    def _mode_has_what_it_needs(self) -> RayOptions:
        if self.mode == "external" and not self.address:
            raise ValueError("mode external needs cluster.ray.address, the http address of the Ray dashboard")
        if self.mode == "static" and not self.token_secret:
            raise ValueError(
                "mode static needs cluster.ray.token_secret, a Secret with a random text under the key auth_token"
            )
        return self
