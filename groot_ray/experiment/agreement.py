"""Checks that the parts of a document fit each other: rules about several keys, applied before any work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from groot_ray.embodiment.limits import check_limits
from groot_ray.errors import ConfigurationError
from groot_ray.experiment.cluster import ClusterOptions
from groot_ray.experiment.stages import EVALUATE, STAGE_NAMES
from groot_ray.model.family import Limits, default_family, family_with_size

if TYPE_CHECKING:
    from groot_ray.embodiment.schema import Embodiment
    from groot_ray.experiment.document import Document
    from groot_ray.experiment.schema import Experiment, ModelOptions


def stages_to_run(document: Document) -> list[str]:
    """Names of the stages that a document runs, in pipeline order: those that its `cluster:` part enables, or all."""
    stages = (document.cluster or ClusterOptions()).stages
    return [name for name in STAGE_NAMES if name in stages and stages[name].enabled]


def model_limits(model: ModelOptions) -> Limits:
    """Limits of the model on a robot's size, as far as known without reading a base checkpoint.

    Fresh weights have the limits of their size. A base checkpoint is assumed to have its family's; `doctor` and the
    start of finetuning read the checkpoint's own.
    """
    if model.base is None:
        return family_with_size(model.size).new_config(model.size).limits
    return default_family().limits


def check_agreement(experiment: Experiment, robot: Embodiment, stages: Sequence[str]) -> list[str]:
    """Check that the stages to run fit each other; returns a sentence for each likely mistake.

    Raises:
        ConfigurationError: a later stage would certainly fail; the message names the keys.
    """
    check_limits(robot, model_limits(experiment.model))
    if EVALUATE.name not in stages:
        return []
    evaluation, training = experiment.evaluation, experiment.training
    splits = {"test": experiment.splits.test, "validation": experiment.splits.validation}
    if splits.get(evaluation.split, 1) == 0:
        raise ConfigurationError(
            f"evaluation.split is {evaluation.split}, but splits.{evaluation.split} keeps no episode back; give it a "
            f"number of episodes (splits: {{{evaluation.split}: 1}}), or evaluate the training episodes "
            "(evaluation: {split: train})"
        )
    if training.modality_config_path is None and evaluation.action_horizon > robot.action_horizon:
        raise ConfigurationError(
            f"evaluation.action_horizon {evaluation.action_horizon} is more than the {robot.action_horizon} steps that "
            f"embodiment {robot.name} lets the model predict (action_horizon); use at most {robot.action_horizon}"
        )
    return never_saved(experiment)


def never_saved(experiment: Experiment) -> list[str]:
    """Warnings about checkpoints that evaluation asks for but training will not save or keep."""
    training, wanted = experiment.training, experiment.evaluation.checkpoints
    if not isinstance(wanted, list):
        return []
    regular = range(training.save_steps, training.max_steps + 1, training.save_steps)
    newest, kept = regular[-training.save_total_limit :], {*training.keep_steps, training.max_steps}
    missing = [str(step) for step in wanted if step not in newest and step not in kept]
    if not missing:
        return []
    return [
        f"evaluation.checkpoints asks for step{'s' if len(missing) > 1 else ''} {', '.join(missing)}, which training "
        f"neither saves nor keeps (save_steps {training.save_steps}, save_total_limit {training.save_total_limit}, "
        f"max_steps {training.max_steps}); list them in training.keep_steps"
    ]
