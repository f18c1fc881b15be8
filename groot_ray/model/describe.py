"""A text description of a checkpoint: its size, its embodiment tags with their dims, and what trains by default."""

from __future__ import annotations

from pathlib import Path

import torch

from groot_ray.model.family import family_of
from groot_ray.model.shared.trainable import apply_tune_flags, describe_trainable
from groot_ray.model.shared.tune import TuneFlags
from groot_ray.model.shared.weights import tensor_headers


def describe(directory: Path) -> str:
    """Describe a checkpoint folder without loading its weights.

    Raises:
        ConfigurationError: no family has its `model_type`.
        DataError: the checkpoint is incomplete.
    """
    family = family_of(directory)
    config = family.read_config(directory)
    headers = tensor_headers(directory)
    with torch.device("meta"):
        network = family.build_network(config)
    layers = min(config.tune_top_llm_layers, len(network.language_layers))
    apply_tune_flags(network, TuneFlags(tune_top_llm_layers=layers))
    dtypes = sorted({entry["dtype"] for entry in headers.values()})
    limits = config.limits
    lines = [
        f"{family.title} checkpoint {directory}",
        f"  {len(headers)} tensors in {', '.join(dtypes)}; state {limits.state_dim}, action {limits.action_dim} dims "
        "at most, "
        f"horizon {limits.action_horizon}, {config.denoising_steps} denoising steps",
        "  parts (parameters, trained by default):",
    ]
    lines += [
        f"    {part.name:36} {part.parameters:>13,} {part.trainable:>13,}" for part in describe_trainable(network)
    ]
    if all((directory / name).is_file() for name in family.required_files):
        processor = family.load_processor(directory)
        lines.append("  embodiment tags:")
        for tag in processor.modality_configs:
            state, action, horizon = processor.dims(tag)
            lines.append(
                f"    {tag:24} id {processor.embodiment_ids.get(tag)}, state {state}, action {action}, horizon "
                f"{horizon}"
            )
    return "\n".join(lines)
