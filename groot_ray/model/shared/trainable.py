"""What trains: the finetuning flags applied to a network, and parameter counts per part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from groot_ray.errors import ConfigurationError
from groot_ray.model.shared.network import PolicyNetwork
from groot_ray.model.shared.tune import TuneFlags


@dataclass(frozen=True)
class PartSize:
    """A part of the network: its name for people, its parameters, and how many of them train."""

    name: str
    parameters: int
    trainable: int


def apply_tune_flags(network: PolicyNetwork, flags: TuneFlags) -> None:
    """Set `requires_grad` of every parameter, and training mode, in which frozen modules stay in evaluation mode.

    Unless `tune_llm` is set, the entire language model counts as frozen. Training mode changes nothing in the other
    parts.

    Raises:
        ConfigurationError: nothing would train, or `tune_top_llm_layers` exceeds the number of language layers.
    """
    layers = network.language_layers
    if flags.tune_top_llm_layers > len(layers):
        raise ConfigurationError(
            f"tune_top_llm_layers is {flags.tune_top_llm_layers}, but the model has {len(layers)} language layers; "
            "choose a smaller number"
        )
    frozen = []
    for path, member, flag in _members(network):
        train = bool(getattr(flags, flag))
        member.requires_grad_(train)
        if not train and isinstance(member, nn.Module):
            frozen.append(path)
    if not flags.tune_llm and flags.tune_top_llm_layers:
        for layer in layers[-flags.tune_top_llm_layers :]:
            layer.requires_grad_(True)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ConfigurationError(
            "nothing would train: all of tune_llm, tune_visual, tune_projector, tune_diffusion_model and tune_vlln are "
            "false; set one of them"
        )
    network.frozen = tuple(frozen)
    network.train()


def _members(network: PolicyNetwork) -> Iterator[tuple[str, nn.Module | nn.Parameter, str]]:
    """Path, module or parameter, and flag of everything that the network's parts name."""
    modules, parameters = dict(network.named_modules()), dict(network.named_parameters())
    for part in network.parts:
        for path in part.paths:
            member = modules.get(path, parameters.get(path))
            if member is not None:
                yield path, member, part.flag


def describe_trainable(network: PolicyNetwork) -> list[PartSize]:
    """The network's parts with their numbers of parameters and of trainable ones; the total comes last."""
    named = list(network.named_parameters())
    sizes = []
    for part in network.parts:
        own = [p for key, p in named if any(key == path or key.startswith(f"{path}.") for path in part.paths)]
        sizes.append(PartSize(part.name, sum(p.numel() for p in own), sum(p.numel() for p in own if p.requires_grad)))
    return [*sizes, PartSize("all", sum(p.parameters for p in sizes), sum(p.trainable for p in sizes))]
