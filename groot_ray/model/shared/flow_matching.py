"""Flow matching, as the GR00T N1 models do it: the loss in training, Euler denoising in inference.

Lipman et al., "Flow Matching for Generative Modeling" (2022); NVIDIA, "GR00T N1" (2025). Time runs from 0 (noise) to 1
(data): x_t = (1 - t) * noise + t * action, velocity = action - noise.

Keys and values of the cross-attention are computed once for all denoising steps, which changes no result. Noise and
time are drawn in float32, where N1.6's reference draws them in bf16 (which leaves steps of 2 to 4 between integer times
above 256); in bf16 the last bits differ.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from groot_ray.model.shared.action_head import ActionHead
from groot_ray.model.shared.batch_layout import BatchLayout, batch_layout
from groot_ray.model.shared.flow import FlowNoise
from groot_ray.model.shared.network import Batch, PolicyNetwork


class Encoded(NamedTuple):
    """The backbone's output for a batch: features [B, L, width] and two bool masks [B, L]."""

    features: Tensor
    attention_mask: Tensor
    image_mask: Tensor


class FlowMatchingNetwork(PolicyNetwork):
    """A backbone and an action head. In addition to what its `encode` reads, a batch has

    ========================== ======================================================= ==========
    input_ids, attention_mask  [B, L] int64, left-padded                                always
    state                      [B, Ts, state_dim] normalized, zero-padded               always
    embodiment_id              [B] int64                                                always
    action, action_mask        [B, action_horizon, action_dim]                          training
    batch_layout               BatchLayout; without it, one wait for the GPU            optional
    ========================== ======================================================= ==========

    Attributes:
        image_token: id of the tokens whose embedding an image's features replace.
        time_buckets: number of integer times that the head distinguishes.
    """

    action_head: ActionHead
    image_token: int
    time_buckets: int

    @property
    @abstractmethod
    def flow(self) -> FlowNoise:
        """Distribution of noise and time."""

    @abstractmethod
    def encode(self, batch: Batch) -> Encoded:
        """Run the backbone."""

    def layout(self, batch: Batch) -> BatchLayout:
        """The layout of a batch: the one in it, or computed now."""
        layout = batch.get("batch_layout")
        return batch_layout(batch, self.image_token) if layout is None else layout

    def forward(  # type: ignore[override]  # its draws by name
        self,
        batch: Batch,
        noise: Tensor | None = None,
        time: Tensor | None = None,
        generator: torch.Generator | None = None,
        encoded: Encoded | None = None,
    ) -> dict[str, Tensor]:
        """Flow-matching loss of a batch.

        Args:
            noise: [B, H, D]; drawn from N(0, 1) with `generator` when not given.
            time: [B] in [0, 1); drawn as (1 - u) * s with u ~ Beta(alpha, beta) when not given.
            encoded: the result of `encode` for the batch, if already computed.

        Returns:
            loss: loss_sum / (mask_sum + 1e-6), one mean over all valid elements of the batch;
            loss_sum, mask_sum: for means over several workers; action_loss [B, H, D]: masked squared errors.
        """
        head, layout = self.action_head, self.layout(batch)
        encoded = encoded or self.encode({**batch, "batch_layout": layout})
        context = head.context(*encoded, layout)
        action, mask = batch["action"], batch["action_mask"]
        if noise is None:
            noise = torch.randn(action.shape, dtype=action.dtype, device=action.device, generator=generator)
        time = self.draw_time(len(action), action.device, generator) if time is None else time
        t = time.to(action.dtype)[:, None, None]
        noisy = (1 - t) * noise + t * action
        step = (time * self.time_buckets).long()
        dtype = self._input_dtype(action.device)
        state = head.encode_state(batch["state"].to(dtype), layout, training=True)
        velocity = head.velocity(noisy.to(dtype), step, state, context, layout)
        action_loss = (velocity.float() - (action - noise)).square() * mask
        loss_sum, mask_sum = action_loss.sum(), mask.sum()
        return {
            "loss": loss_sum / (mask_sum + 1e-6),
            "loss_sum": loss_sum,
            "mask_sum": mask_sum,
            "action_loss": action_loss,
        }

    def draw_time(self, count: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
        """Times of `count` samples, float32 [count]; Beta(alpha, 1) by inversion, other shapes by two gammas."""
        flow = self.flow
        if flow.beta == 1.0:
            u = torch.rand(count, device=device, generator=generator) ** (1.0 / flow.alpha)
        else:
            shapes = torch.tensor([[flow.alpha], [flow.beta]], device=device).expand(2, count)
            first, second = torch._standard_gamma(shapes, generator=generator)  # torch.distributions take no generator
            u = first / (first + second)
        return (1.0 - u) * flow.s

    @torch.no_grad()
    def predict(
        self,
        batch: Batch,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        steps: int | None = None,
        encoded: Encoded | None = None,
    ) -> Tensor:
        """Denoise actions from noise in `steps` Euler steps; normalized actions [B, H, D] in the features' dtype, not
        clipped.

        `noise` is [B, H, D], drawn from N(0, 1) with `generator` when not given.
        """
        head, layout = self.action_head, self.layout(batch)
        encoded = encoded or self.encode({**batch, "batch_layout": layout})
        context = head.context(*encoded, layout)
        keys_values = head.model.keys_values(context)
        dtype, device = encoded.features.dtype, encoded.features.device
        state = head.encode_state(batch["state"].to(dtype), layout, training=False)
        shape = (len(encoded.features), self.flow.horizon, self.flow.dims)
        actions = torch.randn(shape, device=device, generator=generator) if noise is None else noise
        actions = actions.to(dtype)
        steps = steps or self.config.denoising_steps
        for index in range(steps):
            step = torch.full((len(actions),), int(index / steps * self.time_buckets), device=device)
            actions = actions + (1.0 / steps) * head.velocity(actions, step, state, context, layout, keys_values)
        return actions

    def _input_dtype(self, device: torch.device) -> torch.dtype:
        """The dtype of the head's state and action inputs: its own, or float32 where autocast does the
        casting.
        """
        if torch.is_autocast_enabled(device.type):
            return torch.float32
        return self.action_head.model.proj_out_2.weight.dtype
