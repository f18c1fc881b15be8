"""`Policy`: a network and its processor, which map observations in model form to actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from groot_ray.errors import DataError
from groot_ray.model.shared.modality import ModalityConfigs, modality_configs_json
from groot_ray.policy.observation import split_observation

if TYPE_CHECKING:
    from groot_ray.model.family import Processor
    from groot_ray.model.shared.network import PolicyNetwork

Seed = int | Sequence[int]


class Policy:
    """A checkpoint's network and processor, for one embodiment tag; `load_policy` makes one.

    Attributes:
        checkpoint: local folder that it was loaded from.
        tag: NAME of the embodiment tag.
        configs: the tag's modality configuration; `modality` is the same as plain JSON data.
        action_dims: width of all action keys together.
        action_horizon: steps of a prediction.
        denoising_steps: integration steps of the flow.
        device: where the network runs.
    """

    def __init__(
        self,
        network: PolicyNetwork,
        processor: Processor,
        tag: str,
        *,
        checkpoint: Path,
        device: torch.device,
        denoising_steps: int | None = None,
    ) -> None:
        """Combine a network and a processor.

        Args:
            network: a network on `device`; it is frozen and set to evaluation mode in place.
            processor: the processor that the network was trained with.
            tag: NAME of a tag that the processor has.
            checkpoint: folder that the processor was read from.
            denoising_steps: None for the checkpoint's own number.
        """
        self.network = network.eval().requires_grad_(False)
        self.processor = processor
        self.tag = tag
        self.checkpoint = checkpoint
        self.device = device
        self.configs: ModalityConfigs = processor.configs(tag)
        self.modality: dict[str, Any] = modality_configs_json(self.configs)
        _, self.action_dims, self.action_horizon = processor.dims(tag)
        self.denoising_steps = denoising_steps or network.config.denoising_steps

    def get_action(
        self,
        observation: Mapping[str, Any],
        options: Mapping[str, Any] | None = None,
        *,
        seed: int | Sequence[Seed] | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Predict the next actions of a batch of observations.

        Args:
            observation: ``{"video": {key: uint8 [B, T, H, W, 3]}, "state": {key: float32 [B, T, D]}, "language":
                {key: B lists of one text}}`` with RGB images and states in the dataset's units; T is the number of
                frames that the modality takes.
            options: ignored; part of GR00T N1.6's policy interface.
            seed: fixes the noise. One number seeds the entire batch; one number (or tuple of numbers) per sample makes
                the sample's noise independent of the rest of the batch. Without a seed, noise comes from `generator`
                or torch's own.

        Returns:
            ``{action key: float32 [B, horizon, D]}``, absolute actions in the dataset's units (radians, meters ...),
            and an empty mapping, as in GR00T N1.6's policy interface.

        Raises:
            DataError: the observation lacks a key or has a wrong type or shape.
        """
        samples = split_observation(observation, self.configs, self.tag)
        noise = self._noise(seed, len(samples), generator)
        states = {key: observation["state"][key] for key in self.configs["state"].modality_keys}
        # On a CPU a larger batch gains little, and its sums differ in their last bits from those of single samples.
        size = 1 if self.device.type == "cpu" else len(samples)
        predicted = [
            self._predict(samples[at : at + size], noise[at : at + size]) for at in range(0, len(samples), size)
        ]
        return self.processor.decode_action(torch.cat(predicted), self.tag, states), {}

    def reset(self, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Start a new episode. The policy keeps nothing between calls, so this does nothing."""
        return {}

    def _predict(self, samples: list[dict[str, Any]], noise: torch.Tensor) -> torch.Tensor:
        """Normalized actions float32 [B, H, Dmax]; noise has the same shape."""
        batch = self.processor.collate([self.processor.process(sample, train=False) for sample in samples])
        batch = {key: _moved(value, self.device) for key, value in batch.items()}
        with torch.inference_mode():
            return self.network.predict(batch, noise=noise.to(self.device), steps=self.denoising_steps).float()

    def _noise(self, seed: int | Sequence[Seed] | None, batch: int, generator: torch.Generator | None) -> torch.Tensor:
        """Noise float32 [B, H, Dmax] of the network's own horizon and action width."""
        limits = self.network.config.limits
        shape = (limits.action_horizon, limits.action_dim)
        if seed is None:
            return torch.randn((batch, *shape), generator=generator, device=generator.device if generator else "cpu")
        seeds: Sequence[Seed] = [(seed, i) for i in range(batch)] if isinstance(seed, int) else seed
        if len(seeds) != batch:
            raise DataError(
                f"there are {len(seeds)} seeds for {batch} observations; give one for each, or one number for all"
            )
        return torch.from_numpy(np.stack([seeded_noise(one, shape) for one in seeds]))


def seeded_noise(seed: Seed, shape: tuple[int, ...]) -> np.ndarray:
    """Noise from N(0, 1), float32 of `shape`: a pure function of the seed, one number or several."""
    numbers = [seed] if isinstance(seed, int) else list(seed)
    return np.random.default_rng([n % 2**64 for n in numbers]).standard_normal(shape, dtype=np.float32)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, list):
        return [_moved(item, device) for item in value]
    return value.to(device) if isinstance(value, torch.Tensor) else value
