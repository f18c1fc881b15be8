"""The optimizer's state as named tensors for safetensors files, which run no code when read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from groot_ray.errors import DataError


def optimizer_tensors(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimizer's own tensors, not copies, named ``<kind>.<parameter>`` (``exp_avg.action_head.vlln.weight``).

    Moments have the shape and dtype of their parameter; ``step`` is float32 [].
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in model.named_parameters():
        for kind, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{kind}.{name}"] = torch.as_tensor(value).detach()
    return tensors


def load_optimizer_tensors(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]
) -> None:
    """Load such tensors into the optimizer, which moves them to its parameters' devices.

    Raises:
        DataError: the tensors belong to parameters that do not train now.
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
            f"the checkpoint has optimizer state for {len(by_name)} parameters that do not train now, such as "
            f"{next(iter(by_name))}; use the tune flags of the run that wrote it"
        )
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
