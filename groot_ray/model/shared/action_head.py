"""The flow-matching action head of GR00T N1.6: state and action encoders, diffusion transformer, decoder.

Weights that belong to an embodiment are stored for all 32 embodiments side by side. A batch of one embodiment (the usual case) takes
its slice and a plain matrix product; a mixed one is computed embodiment by embodiment. No matrix is ever gathered per sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groot_ray.model.n1d6.config import Gr00tConfig
from groot_ray.model.shared.batch import BatchFacts
from groot_ray.model.shared.dit import Context, DiT, KeysValues


class CategoryLinear(nn.Module):
    """One linear layer per embodiment, stored [category, in, out]: y = x W[e] + b[e]."""

    def __init__(self, categories: int, width_in: int, width_out: int) -> None:
        super().__init__()
        # The reference draws with 0.02, about this for its widths; a narrow model's signal would fade.
        self.W = nn.Parameter(torch.randn(categories, width_in, width_out) * width_in**-0.5)
        self.b = nn.Parameter(torch.zeros(categories, width_out))

    def forward(self, x: Tensor, embodiment: int) -> Tensor:
        """Map [B, T, in] of one embodiment to [B, T, out]."""
        return torch.matmul(x, self.W[embodiment]) + self.b[embodiment]


class CategoryMlp(nn.Module):
    """Two layers per embodiment with a ReLU between them."""

    def __init__(self, categories: int, width_in: int, hidden: int, width_out: int) -> None:
        super().__init__()
        self.layer1 = CategoryLinear(categories, width_in, hidden)
        self.layer2 = CategoryLinear(categories, hidden, width_out)

    def forward(self, x: Tensor, facts: BatchFacts) -> Tensor:
        """Map [B, T, in] to [B, T, out], each sample by its embodiment's layers."""
        return facts.by_embodiment(self._one, x)

    def _one(self, x: Tensor, embodiment: int) -> Tensor:
        return self.layer2(F.relu(self.layer1(x, embodiment)), embodiment)


class ActionEncoder(nn.Module):
    """Noisy actions and the time of the flow to one token per action step."""

    def __init__(self, categories: int, width_in: int, width: int) -> None:
        super().__init__()
        self.W1 = CategoryLinear(categories, width_in, width)
        self.W2 = CategoryLinear(categories, 2 * width, width)
        self.W3 = CategoryLinear(categories, width, width)

    def forward(self, actions: Tensor, step: Tensor, facts: BatchFacts) -> Tensor:
        """Map actions [B, H, D] at integer times [B] to tokens [B, H, width], each sample by its embodiment's layers."""
        return facts.by_embodiment(self._one, actions, step)

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

    def __init__(self, config: Gr00tConfig) -> None:
        super().__init__()
        categories, width = config.max_num_embodiments, config.dit_width
        self.model = DiT(config)
        self.state_encoder = CategoryMlp(categories, config.max_state_dim, config.hidden_size, width)
        self.action_encoder = ActionEncoder(categories, config.max_action_dim, width)
        output = int(config.diffusion_model_cfg["output_dim"])
        self.action_decoder = CategoryMlp(categories, output, config.hidden_size, config.max_action_dim)
        self.vlln = nn.LayerNorm(config.backbone_embedding_dim) if config.use_vlln else nn.Identity()
        self.position_embedding = nn.Embedding(config.max_seq_len, width) if config.add_pos_embed else None
        if self.position_embedding is not None:
            nn.init.normal_(self.position_embedding.weight, std=0.02)
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, width)) if config.state_dropout_prob > 0 else None
        self.state_dropout_prob = config.state_dropout_prob
        self.state_noise_scale = config.state_additive_noise_scale

    def context(self, features: Tensor, attention_mask: Tensor, image_mask: Tensor, facts: BatchFacts) -> Context:
        """What the cross-attention blocks attend to, from the backbone's features [B, L, width] and bool masks [B, L]."""
        return self.model.context(self.vlln(features), attention_mask, image_mask, facts)

    def encode_state(self, state: Tensor, facts: BatchFacts, training: bool) -> Tensor:
        """State [B, Ts, D] to tokens [B, Ts, width].

        In a training forward pass (`training`) the tokens of a sample are replaced by the mask token with the probability of state
        dropout, whether or not the module is in training mode, as in the reference; noise is added in training mode only.
        """
        tokens = self.state_encoder(state, facts)
        if training and self.mask_token is not None:
            hidden = torch.rand(len(tokens), 1, 1, device=tokens.device) < self.state_dropout_prob
            tokens = torch.where(hidden, self.mask_token.to(tokens.dtype), tokens)
        if training and self.training and self.state_noise_scale > 0:
            tokens = tokens + self.state_noise_scale * torch.randn_like(tokens)
        return tokens

    def velocity(
        self,
        actions: Tensor,
        step: Tensor,
        state: Tensor,
        context: Context,
        facts: BatchFacts,
        keys_values: Sequence[KeysValues | None] | None = None,
    ) -> Tensor:
        """Velocity [B, H, D] of actions [B, H, D] at integer times [B], given state tokens [B, Ts, width].

        `keys_values` are those of the context (`DiT.keys_values`), where several steps share them.
        """
        tokens = self.action_encoder(actions, step, facts)
        if self.position_embedding is not None:
            tokens = tokens + self.position_embedding.weight[: actions.shape[1]]
        hidden = self.model(torch.cat([state, tokens], dim=1), step, context, keys_values)
        return self.action_decoder(hidden, facts)[:, -actions.shape[1] :]
