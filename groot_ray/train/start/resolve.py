"""Checks of a plan that need neither Ray nor torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from groot_ray.embodiment.limits import check_horizon
from groot_ray.embodiment.nvidia import read_modality_config
from groot_ray.experiment.agreement import model_limits
from groot_ray.experiment.schema import ModelOptions
from groot_ray.train.plan import FinetunePlan
from groot_ray.train.start.memory import check_this_machine
from groot_ray.train.start.modalities import known_tag


def resolve_plan(plan: FinetunePlan) -> FinetunePlan:
    """Return the plan for the workers, with NVIDIA's modality configuration file read, the tag by name, absolute paths.

    Raises:
        ConfigurationError: the tag or the modality configuration file is wrong, or the run does not fit into the memory
            of this machine.
    """
    check_this_machine(plan)
    training, tag, modality_configs = plan.training, plan.tag, plan.modality_configs
    if training.modality_config_path is not None:
        path = training.modality_config_path
        tag, modality_configs = read_modality_config(path, tag)
        check_horizon(modality_configs, model_limits(plan.model), f"tag {tag} in {str(path)!r}")
    if tag is not None:
        tag = known_tag(tag, plan.model, plan.output.endpoint)
    cache = str(Path(plan.cache).expanduser().absolute())
    return replace(plan, model=_absolute(plan.model), tag=tag, modality_configs=modality_configs, cache=cache)


def _absolute(model: ModelOptions) -> ModelOptions:
    """The options with absolute paths, since workers run in other folders."""
    values = {}
    for name in ("base", "tokenizer"):
        value = getattr(model, name)
        if value is not None and Path(value).expanduser().is_dir():
            values[name] = str(Path(value).expanduser().absolute())
    return model.model_copy(update=values)
