"""AdamW with the reference's decay groups, and the learning rate as a pure function of the step.

Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019). As in NVIDIA's launcher: betas 0.9 and 0.999, eps 1e-8; no decay for
layer norms and for parameters whose name says bias, layernorm or rmsnorm. So q_norm, k_norm, the embodiments' `b`, position
embedding and mask token are decayed.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

BETAS = (0.9, 0.999)
EPS = 1e-8
_NO_DECAY_WORDS = ("bias", "layernorm", "rmsnorm")


def decays(model: nn.Module) -> dict[str, bool]:
    """Whether weight decay applies, for every parameter's name."""
    norms = {
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        if isinstance(module, nn.LayerNorm)
        for name, _ in module.named_parameters(recurse=False)
    }
    return {
        name: name not in norms and not any(word in name.lower() for word in _NO_DECAY_WORDS)
        for name, _ in model.named_parameters()
    }


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The trainable parameters in two groups, with and without decay, each in the model's order; ``names`` tells them."""
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
    """AdamW over the trainable parameters; fused where all of them are on a GPU."""
    groups = parameter_groups(model, weight_decay)
    fused = all(parameter.is_cuda for group in groups for parameter in group["params"])
    return torch.optim.AdamW(groups, lr=learning_rate, betas=BETAS, eps=EPS, fused=fused or None)


def learning_rate(step: int, max_steps: int, warmup_ratio: float, peak: float) -> float:
    """Learning rate of the update from `step` to `step + 1`: linear warm-up over ceil(ratio * max_steps), then a cosine to 0."""
    warmup = math.ceil(warmup_ratio * max_steps)
    if step < warmup:
        return peak * step / max(1, warmup)
    done = (step - warmup) / max(1, max_steps - warmup)
    return peak * max(0.0, 0.5 * (1.0 + math.cos(math.pi * done)))
