"""A checkpoint in words: size, embodiment tags with their dims, what trains by default."""

from __future__ import annotations

from pathlib import Path

import torch

from groot_ray.model.n1d6.network import Gr00tN1d6
from groot_ray.model.n1d6.processor import Processor
from groot_ray.model.n1d6.weights import read_config, tensor_headers
from groot_ray.model.shared.trainable import TuneFlags, apply_tune_flags, describe_trainable


def describe(directory: Path) -> str:
    """Describe a checkpoint folder without loading its weights; raises DataError when it is not whole."""
    config = read_config(directory)
    headers = tensor_headers(directory)
    with torch.device("meta"):
        model = Gr00tN1d6(config)
    apply_tune_flags(model, TuneFlags(tune_top_llm_layers=min(config.tune_top_llm_layers, config.select_layer)))
    kinds = sorted({entry["dtype"] for entry in headers.values()})
    lines = [
        f"GR00T N1.6 checkpoint {directory}",
        f"  {len(headers)} tensors in {', '.join(kinds)}; state {config.max_state_dim}, action {config.max_action_dim} dims at most, "
        f"horizon {config.action_horizon}, {config.num_inference_timesteps} denoising steps",
        "  parts (parameters, trained by default):",
    ]
    lines += [f"    {part.name:36} {part.parameters:>13,} {part.trainable:>13,}" for part in describe_trainable(model)]
    if (directory / "processor_config.json").exists():
        processor = Processor.from_directory(directory)
        lines.append("  embodiment tags:")
        for tag in processor.modality_configs:
            state, horizon, action = processor.dims(tag)
            lines.append(
                f"    {tag:24} id {processor.embodiment_ids.get(tag)}, state {state}, action {horizon} x {action}"
            )
    return "\n".join(lines)
