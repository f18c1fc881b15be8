"""Activations of a forward pass of GR00T N1.6 under the names of the recorded ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from groot_ray.model.shared.network import PolicyNetwork

WINDOW = 14  # patches; the reference orders patches by windows before its encoder


class Recorder:
    """Collects the outputs of a model's parts while it is open; in denoising each part has one output per step."""

    def __init__(self, model: PolicyNetwork, image_sizes: Sequence[tuple[int, int]]) -> None:
        self.model: Any = model
        self.image_sizes = list(image_sizes)  # of every single image
        self.outputs: dict[str, list[Tensor]] = {}
        self._hooks: list[Any] = []

    def __enter__(self) -> Recorder:
        eagle, head = self.model.backbone.model, self.model.action_head
        tower = eagle.vision_model.vision_model
        parts: dict[str, torch.nn.Module] = {
            "vision_embeddings": tower.embeddings,
            "vision_last_hidden_state": tower,
            "mlp1_out": eagle.mlp1,
            "vlln_out": head.vlln,
            "state_features": head.state_encoder,
            "action_features_no_pos": head.action_encoder,
            "temb": head.model.timestep_encoder,
            "dit_out": head.model,
            "decoder_out": head.action_decoder,
        }
        parts |= {f"llm_layer{i}": layer for i, layer in enumerate(eagle.language_model.model.layers)}
        parts |= {f"dit_block{i}": block for i, block in enumerate(head.model.transformer_blocks)}
        for name, module in parts.items():
            self._hooks.append(module.register_forward_hook(self._keep(name)))
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _keep(self, name: str) -> Callable[..., None]:
        def keep(module: Any, inputs: Any, output: Tensor) -> None:
            self.outputs.setdefault(name, []).append(output.detach().float())

        return keep

    def activation(self, name: str) -> np.ndarray | None:
        """The activation of a recorded name (``dit_block3``, or ``dit_block3.2`` for denoising step 2), or None for an
        unknown one.
        """
        if name == "vision_embeddings_window_order":
            return self._packed("vision_embeddings", windowed=True)
        if name in ("vision_last_hidden_state", "mlp1_out"):
            return self._packed(name, windowed=False)
        if name == "backbone_features":  # the reference's head replaces the backbone's features by its normalized ones
            return self.outputs["vlln_out"][0].numpy()
        base, dot, step = name.rpartition(".")
        if dot and step.isdigit() and base in self.outputs and int(step) < len(self.outputs[base]):
            return self.outputs[base][int(step)].numpy()
        return self.outputs[name][0].numpy() if name in self.outputs else None

    def _packed(self, name: str, windowed: bool) -> np.ndarray:
        """Features of all images as one sequence [1, T, width] in the order of the images, which the model computes
        size by size.
        """
        by_size: dict[tuple[int, int], list[int]] = {}
        for index, size in enumerate(self.image_sizes):
            by_size.setdefault(size, []).append(index)
        images: list[Tensor | None] = [None] * len(self.image_sizes)
        for (size, indices), output in zip(by_size.items(), self.outputs[name], strict=True):  # one output per size
            for index, features in zip(indices, output, strict=True):
                images[index] = features[window_order(size[0] // 14, size[1] // 14)] if windowed else features
        return torch.cat([image for image in images if image is not None])[None].numpy()


def window_order(rows: int, columns: int, window: int = WINDOW) -> Tensor:
    """Indices of a row-major grid in the order of its windows, each window row by row; int64 [rows * columns]."""
    grid = torch.arange(rows * columns).view(rows, columns)
    return torch.cat(
        [
            grid[top : top + window, left : left + window].reshape(-1)
            for top in range(0, rows, window)
            for left in range(0, columns, window)
        ]
    )
