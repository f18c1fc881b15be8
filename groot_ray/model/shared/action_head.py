"""The flow-matching action head of the GR00T N1 models: state and action encoders, diffusion transformer, decoder.

NVIDIA, "GR00T N1" (2025). The weights of all embodiments are stored side by side. A batch of
one embodiment, the usual case, takes its slice and a plain matrix product; a mixed batch is computed embodiment by
embodiment. No matrix is gathered per sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groot_ray.model.shared.batch_layout import BatchLayout
from groot_ray.model.shared.dit import Context, DiT, KeysValues
from groot_ray.model.shared.sizes import HeadSize


class CategoryLinear(nn.Module):
    """One linear layer per embodiment, stored [category, in, out]: y = x W[e] + b[e]."""

    def __init__(self, categories: int, width_in: int, width_out: int) -> None:
        super().__init__()
        # The reference uses a standard deviation of 0.02, about the same at its widths; in a narrow model the
        # signal would vanish.
        self.W = nn.Parameter(torch.randn(categories, width_in, width_out) * width_in**-0.5)
        self.b = nn.Parameter(torch.zeros(categories, width_out))

    def forward(self, x: Tensor, embodiment: int) -> Tensor:
        """Map floats [B, T, in] of one embodiment to [B, T, out] of the same dtype."""
        return torch.matmul(x, self.W[embodiment]) + self.b[embodiment]


class CategoryMlp(nn.Module):
    """Two layers per embodiment with a ReLU between them."""

    def __init__(self, categories: int, width_in: int, hidden: int, width_out: int) -> None:
        super().__init__()
        self.layer1 = CategoryLinear(categories, width_in, hidden)
        self.layer2 = CategoryLinear(categories, hidden, width_out)

    def forward(self, x: Tensor, layout: BatchLayout) -> Tensor:
        """Map floats [B, T, in] to [B, T, out] of the same dtype, each sample by its embodiment's layers."""
        return layout.by_embodiment(self._one, x)

    def _one(self, x: Tensor, embodiment: int) -> Tensor:
        return self.layer2(F.relu(self.layer1(x, embodiment)), embodiment)


class ActionEncoder(nn.Module):
    """Noisy actions and the time of the flow to one token per action step."""

    def __init__(self, categories: int, width_in: int, width: int) -> None:
        super().__init__()
        self.W1 = CategoryLinear(categories, width_in, width)
        self.W2 = CategoryLinear(categories, 2 * width, width)
        self.W3 = CategoryLinear(categories, width, width)

    def forward(self, actions: Tensor, step: Tensor, layout: BatchLayout) -> Tensor:
        """Map actions [B, H, D] at integer times [B] to tokens [B, H, width], each sample by its
        embodiment's layers.
        """
        return layout.by_embodiment(self._one, actions, step)

    def _one(self, actions: Tensor, step: Tensor, embodiment: int) -> Tensor:
        hidden = self.W1(actions, embodiment)
        time = sinusoid(step, hidden.shape[-1]).to(hidden.dtype)
        hidden = torch.cat([hidden, time[:, None].expand(-1, hidden.shape[1], -1)], dim=-1)
        return self.W3(F.silu(self.W2(hidden, embodiment)), embodiment)


def sinusoid(step: Tensor, width: int) -> Tensor:
    """[B] to float32 [B, width]: sines, then cosines, of step * 10000^(-j / (width / 2))."""
    half = width // 2
    exponent = torch.arange(half, dtype=torch.float32, device=step.device) * (-math.log(10000.0) / half)
    angles = step.float()[:, None] * torch.exp(exponent)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class ActionHead(nn.Module):
    """Velocity of the flow from backbone features, state, noisy actions and time."""

    def __init__(self, size: HeadSize) -> None:
        super().__init__()
        width = size.dit.width
        self.model = DiT(size.dit)
        self.state_encoder = CategoryMlp(size.embodiments, size.state_dim, size.hidden, width)
        self.action_encoder = ActionEncoder(size.embodiments, size.action_dim, width)
        self.action_decoder = CategoryMlp(size.embodiments, size.dit.output, size.hidden, size.action_dim)
        self.vlln = nn.LayerNorm(size.dit.features) if size.normalize_features else nn.Identity()
        self.position_embedding = None if size.positions is None else nn.Embedding(size.positions, width)
        if self.position_embedding is not None:
            nn.init.normal_(self.position_embedding.weight, std=0.02)

    def context(self, features: Tensor, attention_mask: Tensor, image_mask: Tensor, layout: BatchLayout) -> Context:
        """What the cross-attention blocks attend to, from the backbone's features [B, L, width] and bool masks [B,
        L].
        """
        return self.model.context(self.vlln(features), attention_mask, image_mask, layout)

    def encode_state(self, state: Tensor, layout: BatchLayout, training: bool) -> Tensor:
        """Normalized state, float [B, Ts, D], to tokens [B, Ts, width] of the same dtype.

        `training` is true in the forward pass of the loss.
        """
        return self.state_encoder(state, layout)

    def velocity(
        self,
        actions: Tensor,
        step: Tensor,
        state: Tensor,
        context: Context,
        layout: BatchLayout,
        keys_values: Sequence[KeysValues | None] | None = None,
    ) -> Tensor:
        """Velocity of the flow.

        Args:
            actions: noisy actions [B, H, D].
            step: integer times int64 [B], from 0 (noise) to the number of buckets (data).
            state: state tokens [B, Ts, width].
            keys_values: those of the context (`DiT.keys_values`), where several steps share them.

        Returns:
            [B, H, D] in the dtype of the inputs.
        """
        tokens = self.action_encoder(actions, step, layout)
        if self.position_embedding is not None:
            tokens = tokens + self.position_embedding.weight[: actions.shape[1]]
        hidden = self.model(torch.cat([state, tokens], dim=1), step, context, keys_values)
        return self.action_decoder(hidden, layout)[:, -actions.shape[1] :]
