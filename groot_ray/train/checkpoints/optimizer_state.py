"""The optimizer's state as named tensors, so that it can be kept in safetensors and read without running code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from groot_ray.errors import DataError


def optimizer_tensors(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """All state, where it is, named ``<kind>.<parameter>`` (``exp_avg.action_head.vlln.weight``)."""
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in model.named_parameters():
        for kind, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{kind}.{name}"] = torch.as_tensor(value).detach()
    return tensors


def load_optimizer_tensors(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]
) -> None:
    """Put the state back, on the devices where the optimizer wants it.

    Raises:
        DataError: the tensors are of another set of trained parameters.
    """
    by_name: dict[str, dict[str, torch.Tensor]] = {}
    for full, value in tensors.items():
        kind, _, name = full.partition(".")
        by_name.setdefault(name, {})[kind] = value
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    state: dict[int, dict[str, Any]] = {}
    number = 0
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            found = by_name.pop(names[id(parameter)], None)
            if found is not None:
                state[number] = found
            number += 1
    if by_name:
        raise DataError(
            f"the optimizer state has {len(by_name)} parameters that are not trained now, such as {next(iter(by_name))}; keep the tune flags of the run"
        )
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
