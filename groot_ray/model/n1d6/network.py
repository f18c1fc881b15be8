"""GR00T N1.6 as one module: flow-matching loss in training, Euler denoising in inference.

Lipman et al., "Flow Matching for Generative Modeling" (2022); NVIDIA, "GR00T N1" (2025). Time runs from 0 (noise) to 1 (data):
x_t = (1 - t) * noise + t * action, velocity = action - noise.

Two differences from NVIDIA's code that change no result in float32: the language model's output layer is stored but never evaluated, and keys
and values of the cross-attention are computed once for all denoising steps. One that changes the last bits in bf16: noise and time are drawn in float32
here, where the reference draws them in bf16 (which leaves steps of 2 to 4 between integer times above 256).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from groot_ray.model.n1d6.backbone import Backbone
from groot_ray.model.n1d6.config import Gr00tConfig
from groot_ray.model.shared.action_head import ActionHead
from groot_ray.model.shared.batch import BatchFacts, describe_batch

Batch = dict[str, Any]


class Encoded(NamedTuple):
    """What the backbone makes of a batch: features [B, L, width] and two bool masks [B, L]."""

    features: Tensor
    attention_mask: Tensor
    image_mask: Tensor


class Gr00tN1d6(nn.Module):
    """The whole model. A batch is a dict of tensors:

    ========================== ======================================================= ==========
    input_ids, attention_mask  [B, L] int64, left-padded                                always
    pixel_values               [N, 3, H, W] or a list of [n, 3, H, W], in [-1, 1]       always
    state                      [B, Ts, max_state_dim] normalized, zero-padded           always
    embodiment_id              [B] int64                                                always
    action, action_mask        [B, action_horizon, max_action_dim]                      training
    facts                      BatchFacts; made here if absent, with a wait for a GPU  optional
    ========================== ======================================================= ==========
    """

    def __init__(self, config: Gr00tConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.action_head = ActionHead(config)
        self.frozen: tuple[
            str, ...
        ] = ()  # modules that stay in evaluation mode, by name; see `trainable.apply_tune_flags`

    def train(self, mode: bool = True) -> Gr00tN1d6:
        """Switch to training or evaluation mode; what is frozen stays in evaluation mode, so that it drops nothing out."""
        super().train(mode)
        for name in self.frozen:
            self.get_submodule(name).eval()
        return self

    def facts(self, batch: Batch) -> BatchFacts:
        """The plain numbers about a batch that decide its way through the network."""
        facts = batch.get("facts")
        return describe_batch(batch, self.config.image_token) if facts is None else facts

    def encode(self, batch: Batch) -> Encoded:
        """Run the backbone."""
        mask = batch["attention_mask"].bool()
        features, image_mask = self.backbone(batch["input_ids"], mask, batch["pixel_values"], self.facts(batch))
        return Encoded(features, mask, image_mask)

    def forward(
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
            encoded: what `encode` made of the batch, when it is at hand.

        Returns:
            loss: loss_sum / (mask_sum + 1e-6), one mean over all valid elements of the batch;
            loss_sum, mask_sum: for means over several workers; action_loss [B, H, D]: masked squared errors.
        """
        head, facts = self.action_head, self.facts(batch)
        encoded = encoded or self.encode({**batch, "facts": facts})
        context = head.context(*encoded, facts)
        action, mask = batch["action"], batch["action_mask"]
        noise = (
            torch.randn(action.shape, dtype=action.dtype, device=action.device, generator=generator)
            if noise is None
            else noise
        )
        time = self.draw_time(len(action), action.device, generator) if time is None else time
        t = time.to(action.dtype)[:, None, None]
        noisy = (1 - t) * noise + t * action
        step = (time * self.config.num_timestep_buckets).long()
        dtype = self._input_dtype(action.device)
        state = head.encode_state(batch["state"].to(dtype), facts, training=True)
        velocity = head.velocity(noisy.to(dtype), step, state, context, facts)
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
        config = self.config
        if config.noise_beta_beta == 1.0:
            u = torch.rand(count, device=device, generator=generator) ** (1.0 / config.noise_beta_alpha)
        else:
            shapes = torch.tensor([[config.noise_beta_alpha], [config.noise_beta_beta]], device=device).expand(2, count)
            first, second = torch._standard_gamma(shapes, generator=generator)  # torch.distributions take no generator
            u = first / (first + second)
        return (1.0 - u) * config.noise_s

    @torch.no_grad()
    def predict(
        self,
        batch: Batch,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        steps: int | None = None,
        encoded: Encoded | None = None,
    ) -> Tensor:
        """Denoise actions from noise in `steps` Euler steps; normalized actions [B, H, D] in the features' dtype, not clipped.

        `noise` is [B, H, D], drawn from N(0, 1) with `generator` when not given.
        """
        head, facts = self.action_head, self.facts(batch)
        encoded = encoded or self.encode({**batch, "facts": facts})
        context = head.context(*encoded, facts)
        keys_values = head.model.keys_values(context)
        dtype, device = encoded.features.dtype, encoded.features.device
        state = head.encode_state(batch["state"].to(dtype), facts, training=False)
        shape = (len(encoded.features), self.config.action_horizon, self.config.max_action_dim)
        actions = torch.randn(shape, device=device, generator=generator) if noise is None else noise
        actions = actions.to(dtype)
        steps = steps or self.config.num_inference_timesteps
        for index in range(steps):
            step = torch.full((len(actions),), int(index / steps * self.config.num_timestep_buckets), device=device)
            actions = actions + (1.0 / steps) * head.velocity(actions, step, state, context, facts, keys_values)
        return actions

    def _input_dtype(self, device: torch.device) -> torch.dtype:
        """What state and actions are handed to the head in: its own dtype, or float32 where autocast does the casting."""
        if torch.is_autocast_enabled(device.type):
            return torch.float32
        return self.action_head.model.proj_out_2.weight.dtype
