"""The complete `cluster:` section, and the rules that compare its parts."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from groot_ray.experiment.cluster.environment import EnvironmentOptions
from groot_ray.experiment.cluster.kubernetes import ObjectName
from groot_ray.experiment.cluster.merge import merged
from groot_ray.experiment.cluster.pods import GROUPS, ImageOptions
from groot_ray.experiment.cluster.ray import RayOptions
from groot_ray.experiment.cluster.release import JobOptions, MonitoringOptions, SecurityOptions, VolumeOptions
from groot_ray.experiment.cluster.stages import StageName, StageOptions, check_order, default_stages
from groot_ray.experiment.schema import Strict
from groot_ray.field_types import Seed


class ClusterOptions(Strict):
    """Images, Ray, stages, queue and security of a release."""

    image: ImageOptions = Field(default_factory=ImageOptions)
    ray: RayOptions = Field(default_factory=RayOptions)
    stages: dict[StageName, StageOptions] = Field(
        default_factory=lambda: {name: StageOptions(**options) for name, options in default_stages().items()},
        description="the stages of the pipeline by name; each becomes a Job. Keys that are given override these "
        "defaults",
    )
    rerun: str | Seed | None = Field(
        None,
        description="any text: changing it creates all Jobs again, also failed ones, after a mistake was fixed outside "
        "these values",
    )
    queue: ObjectName | None = Field(
        None,
        description="LocalQueue of Kueue: fixed replicas instead of an autoscaler, so that a stage waits for quota and "
        "starts as a gang",
    )
    jobs: JobOptions = Field(default_factory=JobOptions)
    environment: EnvironmentOptions = Field(default_factory=EnvironmentOptions)
    volumes: VolumeOptions = Field(default_factory=VolumeOptions)
    security: SecurityOptions = Field(default_factory=SecurityOptions)
    monitoring: MonitoringOptions = Field(default_factory=MonitoringOptions)

    @field_validator("stages", mode="before")
    @classmethod
    def _merge_stages(cls, value: Any) -> Any:
        """Partly given stages keep their other defaults; null removes a stage, as in Helm."""
        if not isinstance(value, dict) or any(isinstance(stage, StageOptions) for stage in value.values()):
            return value
        stages: dict[str, Any] = default_stages()
        for name, options in value.items():
            if options is None and name in stages:
                del stages[name]
            else:
                stages[name] = merged(stages.get(name, {}), options) if isinstance(options, dict) else options
        return stages

    @model_validator(mode="after")
    def _parts_fit_each_other(self) -> ClusterOptions:
        check_order(self.stages)
        for group in GROUPS:
            pod = getattr(self.ray, group)
            if pod.gpu_resource in pod.resources:
                raise ValueError(
                    f"cluster.ray.{group}.resources.{pod.gpu_resource} has an option of its own: "
                    f"cluster.ray.{group}.gpus"
                )
        if self.queue and self.ray.mode != "kuberay":
            raise ValueError("cluster.queue needs cluster.ray.mode: kuberay, because Kueue admits RayClusters")
        return self
