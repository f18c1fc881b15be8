"""AdamW with the reference's weight-decay groups.

Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019). As in NVIDIA's launcher: betas 0.9 and 0.999, eps
1e-8, and no decay for layer norms and for the names that the family lists. In N1.6 those contain bias, layernorm or
rmsnorm; therefore q_norm, k_norm, the embodiments' `b`, the position embedding and the mask token do decay.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from groot_ray.model.shared.network import PolicyNetwork

BETAS = (0.9, 0.999)
EPS = 1e-8


def decays(model: nn.Module) -> dict[str, bool]:
    """Whether weight decay applies, by parameter name; a module without the family's names follows `PolicyNetwork`."""
    norms = {
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        if isinstance(module, nn.LayerNorm)
        for name, _ in module.named_parameters(recurse=False)
    }
    no_decay = model.no_decay if isinstance(model, PolicyNetwork) else PolicyNetwork.no_decay
    return {name: name not in norms and not no_decay.search(name.lower()) for name, _ in model.named_parameters()}


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The trainable parameters in two groups, with and without decay, each with its ``names``, in the model's order."""
    decay = decays(model)
    groups: list[dict[str, Any]] = [
        {"params": [], "names": [], "weight_decay": weight_decay},
        {"params": [], "names": [], "weight_decay": 0.0},
    ]
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            group = groups[0 if decay[name] else 1]
            group["params"].append(parameter)
            group["names"].append(name)
    return [group for group in groups if group["params"]]


def build_adamw(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; fused if all of them are on a GPU.

    Sharding replaces a model's parameters, so the optimizer is created after the model is wrapped (see `parallel`).
    """
    groups = parameter_groups(model, weight_decay)
    fused = all(parameter.is_cuda for group in groups for parameter in group["params"])
    return torch.optim.AdamW(groups, lr=learning_rate, betas=BETAS, eps=EPS, fused=fused or None)
