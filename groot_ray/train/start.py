"""What a run starts from: the base checkpoint's (or a fresh) processor and model, with the run's options applied."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from groot_ray.experiment.schema import ModelOptions, TrainingOptions
from groot_ray.model.fetch import check_model, locate_model
from groot_ray.model.n1d6.network import Gr00tN1d6
from groot_ray.model.n1d6.processor import Processor
from groot_ray.model.n1d6.sizes import config as size_config
from groot_ray.model.n1d6.weights import apply_dtype_policy, load_model, new_model, read_config
from groot_ray.model.shared.tokenizer import DEFAULT_TOKENIZER, TINY
from groot_ray.model.shared.trainable import TuneFlags, apply_tune_flags, describe_trainable
from groot_ray.storage import mirror, open_location

if TYPE_CHECKING:
    from groot_ray.train.step.device import Precision

log = logging.getLogger(__name__)


def base_folder(model: ModelOptions, cache: Path, endpoint: str | None = None) -> Path | None:
    """The base checkpoint on this machine, fetched or mirrored if need be; None for fresh weights.

    Raises:
        ConfigurationError: there is no such checkpoint, or it is not of GR00T N1.6.
    """
    if model.base is None:
        return None
    if model.base.startswith(("s3://", "file://")):
        folder = mirror(open_location(model.base, endpoint), cache)
        check_model(folder, model.base)
        return folder
    return locate_model(model.base, revision=model.revision)


def tokenizer_source(model: ModelOptions, cache: Path, endpoint: str | None = None) -> str | Path | None:
    """Where the tokenizer comes from; None for the base checkpoint's own."""
    if model.tokenizer is not None and model.tokenizer.startswith(("s3://", "file://")):
        return mirror(open_location(model.tokenizer, endpoint), cache)
    if model.tokenizer is None and model.base is None:
        return TINY if model.size == "tiny" else DEFAULT_TOKENIZER
    return model.tokenizer


def starting_processor(
    base: Path | None, tokenizer: str | Path | None, model: ModelOptions, training: TrainingOptions
) -> Processor:
    """The base checkpoint's processor (its crop, sizes and switches rule, as in the reference), or a fresh one of the model's size."""
    if base is None:
        config = size_config(model.size)
        return Processor.new(
            tokenizer or TINY,
            extra_augmentation_config=training.extra_augmentation_config,
            random_rotation_angle=training.random_rotation_angle,
            color_jitter_params=training.color_jitter_params,
            max_state_dim=config.max_state_dim,
            max_action_dim=config.max_action_dim,
            max_action_horizon=config.action_horizon,
        )
    return Processor.from_directory(
        base,
        tokenizer,
        random_rotation_angle=training.random_rotation_angle,
        color_jitter_params=training.color_jitter_params,
        use_relative_action=True,
        extra_augmentation_config=training.extra_augmentation_config,
    )


def starting_model(
    base: Path | None, model: ModelOptions, training: TrainingOptions, device: torch.device, precision: Precision
) -> tuple[Gr00tN1d6, TuneFlags]:
    """The model on its device, frozen and cast as the options say, and the flags that say what trains."""
    config = size_config(model.size) if base is None else read_config(base)
    layers = training.tune_top_llm_layers
    flags = TuneFlags(
        training.tune_llm,
        training.tune_visual,
        training.tune_projector,
        training.tune_diffusion_model,
        training.tune_vlln,
        config.tune_top_llm_layers if layers is None else layers,
    )
    values: dict[str, Any] = {**vars(flags), "state_dropout_prob": training.state_dropout_prob}
    if base is not None:
        return load_model(base, device=device, dtype_policy=precision.dtype_policy, flags=flags, **values), flags
    network = new_model(model.size, model.seed, **values)
    apply_tune_flags(network, flags)
    apply_dtype_policy(network, precision.dtype_policy)
    return network.to(device), flags


def tell_what_trains(model: Gr00tN1d6, flags: TuneFlags) -> list[str]:
    """Lines for the log: the parts of the model with how much of each trains, and what the flags' names hide."""
    parts = describe_trainable(model)
    width = max(len(part.name) for part in parts)
    lines = ["what trains (parameters):"]
    lines += [f"  {part.name:<{width}}  {part.trainable:>13,} of {part.parameters:>13,}" for part in parts]
    by_name = {part.name: part.trainable for part in parts}
    if not flags.tune_llm and by_name["language model"]:
        lines.append(
            f"  tune_llm is off, but the last {flags.tune_top_llm_layers} language layers train all the same (tune_top_llm_layers): "
            f"{by_name['language model'] / 1e6:,.3g} M parameters"
        )
    if flags.tune_projector and not flags.tune_visual:
        lines.append(
            "  tune_projector means the encoders and the decoder of state and action; the vision-language connector is frozen (it goes with tune_visual)"
        )
    return lines
