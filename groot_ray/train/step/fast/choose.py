"""Chooses between the eager and the fast step of a run."""

from __future__ import annotations

import importlib.util
import logging
import os
from pathlib import Path

import torch

from groot_ray.errors import ConfigurationError
from groot_ray.experiment.schema import TrainingOptions
from groot_ray.model.shared.network import PolicyNetwork
from groot_ray.train.step.collective import Collective
from groot_ray.train.step.device import Precision
from groot_ray.train.step.fast.learner import FastLearner
from groot_ray.train.step.learner import Learner
from groot_ray.train.step.parallel import choose_parallelism

log = logging.getLogger(__name__)

CACHE = "TORCHINDUCTOR_CACHE_DIR"


def choose_learner(
    network: PolicyNetwork,
    training: TrainingOptions,
    precision: Precision,
    collective: Collective,
    embodiment: int,
    cache: Path,
) -> Learner:
    """The fast learner if `training.compile` and the machine allow it, else the eager one.

    `embodiment` is the number of the run's embodiment in the network; compiled code is kept in `cache`.

    Raises:
        ConfigurationError: compilation is demanded and not possible.
    """
    why = None if training.compile == "off" else obstacle(network, precision, collective)
    if training.compile == "on" and why is not None:
        raise ConfigurationError(f"training.compile is on, but {why}; set it to auto")
    if training.compile != "off" and why is None:
        os.environ.setdefault(CACHE, str(cache / "compiled"))
        rate, decay = training.learning_rate, training.weight_decay
        return FastLearner(network, rate, decay, precision, embodiment, demanded=training.compile == "on")
    if why is not None and precision.device.type == "cuda":
        log.info("the training step is not compiled: %s", why)
    return Learner.build(
        network,
        choose_parallelism(collective),
        training.learning_rate,
        training.weight_decay,
        unused_parameters=training.tune_llm or training.tune_visual,
    )


def obstacle(network: PolicyNetwork, precision: Precision, collective: Collective) -> str | None:
    """What prevents the fast step, as part of a sentence; None if nothing is known to."""
    if precision.device.type != "cuda":
        return "there is no GPU"
    if not precision.autocast:
        return "precision is fp32"
    if collective.world_size > 1:
        return f"there are {collective.world_size} workers, and only the step of a single one is compiled"
    if torch.cuda.get_device_capability(precision.device) < (8, 0):
        return f"{torch.cuda.get_device_name(precision.device)} has no bf16"
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    if any(p.requires_grad and p.dtype != torch.float32 for p in network.parameters()):
        return "some weights that train are not float32"
    return None
