"""Checks that a robot fits within a model's limits, which its family defines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from groot_ray.embodiment.schema import Embodiment
from groot_ray.errors import ConfigurationError
from groot_ray.model.family import Limits


def trained_dims(embodiment: Embodiment) -> tuple[int, int]:
    """Widths of the trained state and action in the model; an angle given as sine and cosine counts twice."""
    state = sum(c.dims * (2 if c.normalization == "sin_cos" else 1) for c in embodiment.state if c.train)
    return state, sum(c.dims for c in embodiment.action if c.train)


def check_limits(embodiment: Embodiment, limits: Limits) -> None:
    """Check widths and horizon of a robot against those of a model.

    Raises:
        ConfigurationError: the robot exceeds a limit.
    """
    state, action = trained_dims(embodiment)
    for part, dims, limit in (("state", state, limits.state_dim), ("action", action, limits.action_dim)):
        if dims > limit:
            raise ConfigurationError(
                f"embodiment {embodiment.name!r}: the trained {part} has {dims} dimensions, more than the model's "
                f"{limit}; train fewer components"
            )
    if embodiment.action_horizon > limits.action_horizon:
        raise ConfigurationError(
            f"embodiment {embodiment.name!r}: 'action_horizon' {embodiment.action_horizon} is more than the "
            f"{limits.action_horizon} steps that the model predicts; use at most {limits.action_horizon}"
        )


def check_horizon(configs: Mapping[str, Any], limits: Limits, where: str) -> None:
    """Check the action horizon of a modality configuration against a model's.

    Args:
        configs: modality configuration as plain data, in the form of ``processor_config.json``.
        where: tag and file, for the error.

    Raises:
        ConfigurationError: the configuration asks for more steps than the model predicts.
    """
    horizon = len(configs["action"]["delta_indices"])
    if horizon > limits.action_horizon:
        raise ConfigurationError(
            f"the action of {where} has {horizon} delta_indices; the model predicts at most {limits.action_horizon}"
        )
