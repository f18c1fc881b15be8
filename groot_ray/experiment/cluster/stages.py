"""The stages of a release: their Jobs, their pods, and their order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union

from pydantic import Field

from groot_ray.experiment.cluster.environment import Environment
from groot_ray.experiment.cluster.kubernetes import ImageName
from groot_ray.experiment.rules import OneOf
from groot_ray.experiment.schema import Strict
from groot_ray.experiment.stages import PIPELINE, STAGE_NAMES, StageDeclaration, unknown_stage
from groot_ray.field_types import BILLION

Pods = Annotated[int, Field(ge=0, le=10_000)]
StageName = Annotated[str, OneOf(STAGE_NAMES, unknown_stage)]


class StageOptions(Strict):
    """One stage of a release: its Job and its Ray cluster."""

    enabled: bool = Field(True, description="false leaves the Job out")
    after: StageName | None = Field(None, description="the stage that must be done first")
    image: ImageName = Field("data", description="data, train or a full image reference")
    cpu: Union[Pods, Literal["training"]] = Field(
        0, description="most pods of the CPU group; training: as many as training.num_workers needs"
    )
    gpu: Union[Pods, Literal["training"]] = Field(
        0, description="most pods of the GPU group; with training.use_gpu: false they are taken from the CPU group"
    )
    deadline: int | None = Field(
        None,
        ge=1,
        le=BILLION,
        description="seconds of work after which the stage is stopped, not counting the wait for nodes or a queue; "
        "unlimited by default",
    )
    retries: int | None = Field(
        None, ge=0, le=1_000_000, description="attempts after temporary failures; jobs.retries by default"
    )
    env: Environment = Field({}, description="more environment variables of the stage's driver and workers")


def default_stages() -> dict[str, dict[str, Any]]:
    """Default options of each stage that differ from those of `StageOptions`."""
    return {stage.name: dict(_declared_options(stage)) for stage in PIPELINE}


def _declared_options(stage: StageDeclaration) -> Iterator[tuple[str, Any]]:
    if stage.after:  # a Job waits for one stage, the last of its predecessors
        yield "after", stage.after[-1]
    yield "image", stage.image
    if stage.cpu:
        yield "cpu", stage.cpu
    if stage.gpu:
        yield "gpu", stage.gpu


def check_order(stages: dict[str, StageOptions]) -> None:
    """Raise ValueError unless each stage follows one that exists, none follows itself, and one is enabled.

    The chart's template `groot.checkOrder` checks the same.
    """
    for name, stage in stages.items():
        if stage.after and stage.after not in stages:
            raise ValueError(
                f'cluster.stages.{name}.after names "{stage.after}", which this release does not have; '
                f"it has {', '.join(sorted(stages))}"
            )
    for name in sorted(stages):
        way = [name]
        while (before := stages[way[-1]].after) and before not in way:
            way.append(before)
        if before:
            raise ValueError(f"cluster.stages.{name}.after forms a cycle: {' after '.join([*way, before])}")
    if not any(stage.enabled for stage in stages.values()):
        raise ValueError("cluster.stages has no enabled stage; enable at least one")
