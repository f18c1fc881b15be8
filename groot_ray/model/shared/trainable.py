"""What trains: the finetuning flags applied to a model, and the parts that they name, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from groot_ray.errors import ConfigurationError
from groot_ray.model.n1d6.network import Gr00tN1d6


@dataclass(frozen=True)
class TuneFlags:
    """Which parts train; `tune_top_llm_layers` counts the last language layers, which train even when `tune_llm` is false."""

    tune_llm: bool = False
    tune_visual: bool = False
    tune_projector: bool = True
    tune_diffusion_model: bool = True
    tune_vlln: bool = True
    tune_top_llm_layers: int = 4


@dataclass(frozen=True)
class Part:
    """A part of the model: its name for people, its parameters, and how many of them train."""

    name: str
    parameters: int
    trainable: int


def apply_tune_flags(model: Gr00tN1d6, flags: TuneFlags) -> None:
    """Set `requires_grad` of every parameter by the flags, and training mode, in which frozen parts stay in evaluation mode.

    The language model counts as frozen, as a whole, unless `tune_llm` is set; no other part has anything that training mode would change.

    Raises:
        ConfigurationError: nothing would train, or more language layers are asked for than there are.
    """
    decoder = model.backbone.model.language_model.model
    if flags.tune_top_llm_layers > len(decoder.layers):
        raise ConfigurationError(
            f"tune_top_llm_layers is {flags.tune_top_llm_layers}, but the model has {len(decoder.layers)} language layers"
        )
    for part, on in _switches(model, flags):
        part.requires_grad_(on)
    if not flags.tune_llm and flags.tune_top_llm_layers:
        for layer in decoder.layers[-flags.tune_top_llm_layers :]:
            layer.requires_grad_(True)
    head = model.action_head
    if head.mask_token is not None:
        head.mask_token.requires_grad_(flags.tune_projector)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigurationError(
            "nothing would train: all of tune_llm, tune_visual, tune_projector, tune_diffusion_model and tune_vlln are false"
        )
    names = {module: name for name, module in model.named_modules()}
    model.frozen = tuple(names[part] for part, on in _switches(model, flags) if not on)
    model.train()


def _switches(model: Gr00tN1d6, flags: TuneFlags) -> list[tuple[nn.Module, bool]]:
    eagle, head = model.backbone.model, model.action_head
    switches: list[tuple[nn.Module, bool]] = [
        (eagle.language_model, flags.tune_llm),
        (eagle.vision_model, flags.tune_visual),
        (eagle.mlp1, flags.tune_visual),
        (head.state_encoder, flags.tune_projector),
        (head.action_encoder, flags.tune_projector),
        (head.action_decoder, flags.tune_projector),
        (head.model, flags.tune_diffusion_model),
        (head.vlln, flags.tune_vlln),
    ]
    if head.position_embedding is not None:
        switches.append((head.position_embedding, flags.tune_projector))
    return switches


_PARTS = (
    ("vision tower", "backbone.model.vision_model."),
    ("vision-language connector", "backbone.model.mlp1."),
    ("language model", "backbone.model.language_model."),
    ("state encoder", "action_head.state_encoder."),
    ("action encoder", "action_head.action_encoder."),
    ("action decoder", "action_head.action_decoder."),
    ("action positions and mask token", "action_head.position_embedding.|action_head.mask_token"),
    ("layer norm of the features (vlln)", "action_head.vlln."),
    ("diffusion transformer", "action_head.model."),
)


def describe_trainable(model: nn.Module) -> list[Part]:
    """The parts of the model with their numbers of parameters and of trainable ones, and the whole as last."""
    named = list(model.named_parameters())
    parts = []
    for name, prefixes in _PARTS:
        own = [p for key, p in named if key.startswith(tuple(prefixes.split("|")))]
        parts.append(Part(name, sum(p.numel() for p in own), sum(p.numel() for p in own if p.requires_grad)))
    return [*parts, Part("all", sum(p.parameters for p in parts), sum(p.trainable for p in parts))]
