"""Initial processor and network of a run: the base checkpoint's or fresh ones, with the run's options applied."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from groot_ray.errors import DataError
from groot_ray.experiment.schema import ModelOptions, TrainingOptions
from groot_ray.model.family import Processor, ProcessorOptions, family_of, family_with_size
from groot_ray.model.fetch import check_model, locate_model
from groot_ray.model.shared.network import PolicyNetwork
from groot_ray.model.shared.trainable import apply_tune_flags, describe_trainable
from groot_ray.model.shared.tune import TuneFlags
from groot_ray.model.shared.weights import apply_dtype_policy
from groot_ray.storage import mirror, open_location
from groot_ray.storage.committed import changed_files, checked_mirror, own_files
from groot_ray.storage.manifest import FileRecord
from groot_ray.train.checkpoints.checkpoint import OPTIMIZER

if TYPE_CHECKING:
    from groot_ray.train.step.device import Precision

log = logging.getLogger(__name__)

ONLY_FOR_RESUME = frozenset({OPTIMIZER})


def base_folder(
    model: ModelOptions, cache: Path, endpoint: str | None = None, pinned: Sequence[FileRecord] = ()
) -> Path | None:
    """Local folder of the base checkpoint, fetched or mirrored if necessary; None for fresh weights.

    Args:
        pinned: files with the content that the base checkpoint had when it was pinned.

    Raises:
        ConfigurationError: there is no such checkpoint, or its model family is unknown.
        DataError: a file differs from the checkpoint's own manifest, or has changed since it was pinned.
    """
    if model.base is None:
        return None
    if model.base.startswith(("s3://", "file://")):
        folder = checked_mirror(open_location(model.base, endpoint), cache, ONLY_FOR_RESUME)
        check_model(folder, model.base)
    else:
        folder = locate_model(model.base, revision=model.revision)
        checked_mirror(open_location(folder), cache, ONLY_FOR_RESUME)
    gone = next((file.path for file in pinned if not (folder / file.path).is_file()), None)
    compared = set(own_files(open_location(folder)) or ())  # by `checked_mirror`
    unread = [file for file in pinned if file not in compared]
    changed = [gone] if gone else [file.path for file in changed_files(folder, unread)]
    if changed:
        raise DataError(
            f"{changed[0]} of the base model {model.base} has changed since it was pinned; restore it, or pin the "
            "model again with `groot-ray run`"
        )
    return folder


def tokenizer_source(model: ModelOptions, cache: Path, endpoint: str | None = None) -> str | Path | None:
    """Source of the tokenizer; None for the base checkpoint's own."""
    if model.tokenizer is not None and model.tokenizer.startswith(("s3://", "file://")):
        return mirror(open_location(model.tokenizer, endpoint), cache)
    if model.tokenizer is None and model.base is None:
        return family_with_size(model.size).tokenizer_source(model.size)
    return model.tokenizer


def starting_processor(
    base: Path | None, tokenizer: str | Path | None, model: ModelOptions, training: TrainingOptions
) -> Processor:
    """The base checkpoint's processor, or a fresh one for the model's size.

    The run replaces only those settings of a checkpoint that `ProcessorOptions` has, as in the reference.
    """
    options = ProcessorOptions(
        random_rotation_angle=training.random_rotation_angle,
        color_jitter_params=training.color_jitter_params,
        use_relative_action=True,
        state_dropout_prob=training.state_dropout_prob,
        extra_augmentation_config=training.extra_augmentation_config,
    )
    if base is None:
        family = family_with_size(model.size)
        return family.new_processor(family.new_config(model.size), tokenizer, options)
    return family_of(base).load_processor(base, tokenizer, options)


def starting_network(
    base: Path | None, model: ModelOptions, training: TrainingOptions, device: torch.device, precision: Precision
) -> tuple[PolicyNetwork, TuneFlags]:
    """The network on its device, frozen and cast according to the options, and the flags that select what trains."""
    family = family_with_size(model.size) if base is None else family_of(base)
    config = family.new_config(model.size) if base is None else family.read_config(base)
    layers = training.tune_top_llm_layers
    flags = TuneFlags(
        training.tune_llm,
        training.tune_visual,
        training.tune_projector,
        training.tune_diffusion_model,
        training.tune_vlln,
        config.tune_top_llm_layers if layers is None else layers,
    )
    dropout = training.state_dropout_prob
    if base is not None:
        return family.load_network(
            base, device=device, dtype_policy=precision.dtype_policy, flags=flags, state_dropout_prob=dropout
        ), flags
    network = family.new_network(model.size, model.seed, flags=flags, state_dropout_prob=dropout)
    apply_tune_flags(network, flags)
    apply_dtype_policy(network, precision.dtype_policy)
    return network.to(device), flags


def describe_what_trains(network: PolicyNetwork, flags: TuneFlags) -> list[str]:
    """Log lines: how much of each network part trains, and notes on flags with misleading names."""
    parts = describe_trainable(network)
    width = max(len(part.name) for part in parts)
    lines = ["what trains (parameters):"]
    lines += [f"  {part.name:<{width}}  {part.trainable:>13,} of {part.parameters:>13,}" for part in parts]
    by_name = {part.name: part.trainable for part in parts}
    if not flags.tune_llm and by_name.get("language model"):
        lines.append(
            f"  tune_llm is off, but the last {flags.tune_top_llm_layers} language layers train (tune_top_llm_layers): "
            f"{by_name['language model'] / 1e6:,.3g} M parameters"
        )
    if flags.tune_projector and not flags.tune_visual:
        lines.append(
            "  tune_projector trains the encoders and the decoder of state and action; the vision-language connector "
            "is frozen, as it belongs to tune_visual"
        )
    return lines
