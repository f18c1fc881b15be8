"""Which parts of the experiment document each command's flags come from."""

from __future__ import annotations

from pydantic import BaseModel

from groot_ray.experiment.schema import (
    ConversionOptions,
    EvaluationOptions,
    Experiment,
    ModelOptions,
    SourceOptions,
    SplitOptions,
    StorageOptions,
    TrainingOptions,
)

Sections = list[tuple[str, type[BaseModel]]]

EXPERIMENT: Sections = [("experiment", Experiment), ("experiment.storage", StorageOptions)]
SOURCE: Sections = [("experiment.source", SourceOptions)]
CONVERSION: Sections = [("experiment.conversion", ConversionOptions), ("experiment.splits", SplitOptions)]
MODEL: Sections = [("experiment.model", ModelOptions)]
TRAINING: Sections = [("experiment.training", TrainingOptions)]
EVALUATION: Sections = [("experiment.evaluation", EvaluationOptions)]
ALL: Sections = EXPERIMENT + SOURCE + CONVERSION + MODEL + TRAINING + EVALUATION
