"""What no single key of a document can say: whether its parts fit each other, looked at before hours of work find out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from groot_ray.errors import ConfigurationError

if TYPE_CHECKING:
    from groot_ray.embodiment.schema import Embodiment
    from groot_ray.experiment.document import Document
    from groot_ray.experiment.schema import Experiment

EVALUATE = "evaluate"


def stages_to_run(document: Document) -> list[str]:
    """Names of the stages that a document runs: those that its `cluster:` part has enabled, or all four."""
    from groot_ray.experiment.cluster import ClusterOptions

    stages = (document.cluster or ClusterOptions()).stages
    return [name for name, stage in stages.items() if stage.enabled]


def check_agreement(experiment: Experiment, robot: Embodiment, stages: Sequence[str]) -> list[str]:
    """Check that the stages to be run fit each other; returns sentences about what may be meant otherwise.

    Raises:
        ConfigurationError: a later stage is sure to fail; the sentence names the keys.
    """
    if EVALUATE not in stages:
        return []
    evaluation, training = experiment.evaluation, experiment.training
    splits = {"test": experiment.splits.test, "validation": experiment.splits.validation}
    if splits.get(evaluation.split, 1) == 0:
        raise ConfigurationError(
            f"evaluation.split is {evaluation.split}, but splits.{evaluation.split} keeps no episode back; give it a number of episodes "
            f"(splits: {{{evaluation.split}: 1}}), or evaluate what was trained on (evaluation: {{split: train}})"
        )
    if training.modality_config_path is None and evaluation.action_horizon > robot.action_horizon:
        raise ConfigurationError(
            f"evaluation.action_horizon {evaluation.action_horizon} is more than the {robot.action_horizon} steps that embodiment "
            f"{robot.name} lets the model predict (action_horizon); use at most {robot.action_horizon}"
        )
    return never_saved(experiment)


def never_saved(experiment: Experiment) -> list[str]:
    """A sentence about the checkpoints that evaluation asks for and that this training by itself will not save or keep."""
    training, wanted = experiment.training, experiment.evaluation.checkpoints
    if not isinstance(wanted, list):
        return []
    regular = range(training.save_steps, training.max_steps + 1, training.save_steps)
    kept = {*regular[-training.save_total_limit :], *training.keep_steps, training.max_steps}
    missing = [str(step) for step in wanted if step not in kept]
    if not missing:
        return []
    return [
        f"evaluation.checkpoints asks for step{'s' if len(missing) > 1 else ''} {', '.join(missing)}, which training neither saves nor "
        f"keeps (save_steps {training.save_steps}, save_total_limit {training.save_total_limit}, max_steps {training.max_steps}); "
        f"list them in training.keep_steps"
    ]
