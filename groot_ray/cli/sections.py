"""Which sections of the experiment document a command has flags for, from the declarations of the stages."""

from __future__ import annotations

from pydantic import BaseModel

from groot_ray.experiment.schema import Experiment, StorageOptions
from groot_ray.experiment.stages import PIPELINE, StageDeclaration

Sections = list[tuple[str, type[BaseModel]]]

EXPERIMENT: Sections = [("experiment", Experiment), ("experiment.storage", StorageOptions)]


def of_stage(stage: StageDeclaration) -> Sections:
    """The sections of a stage's command: the experiment, what the stage reads, and its own."""
    return EXPERIMENT + [section(name) for name in (*stage.reads, *stage.sections)]


def section(name: str) -> tuple[str, type[BaseModel]]:
    """A section of the document: its dotted name and its model."""
    model = Experiment.model_fields[name].annotation
    assert isinstance(model, type) and issubclass(model, BaseModel)
    return f"experiment.{name}", model


ALL: Sections = EXPERIMENT + [section(name) for stage in PIPELINE for name in stage.sections]
