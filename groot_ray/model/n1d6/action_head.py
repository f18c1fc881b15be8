"""The action head of GR00T N1.6: the shared one, with dropout of the state in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from groot_ray.model.n1d6.config import Gr00tConfig
from groot_ray.model.shared.action_head import ActionHead
from groot_ray.model.shared.batch_layout import BatchLayout


class StateDropoutHead(ActionHead):
    """In training, a learned mask token replaces a sample's state tokens with the probability of state
    dropout.
    """

    def __init__(self, config: Gr00tConfig) -> None:
        super().__init__(config.head)
        width = config.dit.width
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, width)) if config.state_dropout_prob > 0 else None
        self.state_dropout_prob = config.state_dropout_prob
        self.state_noise_scale = config.state_additive_noise_scale

    def encode_state(self, state: Tensor, layout: BatchLayout, training: bool) -> Tensor:
        """Normalized state, float [B, Ts, D], to tokens [B, Ts, width] of the same dtype.

        Where `training` is true (the forward pass of the loss), tokens are dropped whether or not the module is in
        training mode, as in the reference. Noise is added in training mode only.
        """
        tokens = super().encode_state(state, layout, training)
        if training and self.mask_token is not None:
            hidden = torch.rand(len(tokens), 1, 1, device=tokens.device) < self.state_dropout_prob
            tokens = torch.where(hidden, self.mask_token.to(tokens.dtype), tokens)
        if training and self.training and self.state_noise_scale > 0:
            tokens = tokens + self.state_noise_scale * torch.randn_like(tokens)
        return tokens
