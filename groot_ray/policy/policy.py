"""`Policy`: a checkpoint that answers observations with actions, for evaluation, rollout and the policy server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.model.n1d6.network import Gr00tN1d6
from groot_ray.model.n1d6.processor import Processor
from groot_ray.model.n1d6.weights import DtypePolicy, apply_dtype_policy, load_model
from groot_ray.model.shared.modality import ModalityConfigs, modality_configs_json
from groot_ray.model.shared.tags import resolve_tag
from groot_ray.policy.observation import split_observation

Seed = int | Sequence[int]


class Policy:
    """The model and the processing of one checkpoint, for one embodiment tag.

    Weights are bf16 on a GPU, as in the reference's inference, and float32 on a CPU.

    Attributes:
        checkpoint: the folder that it was loaded from.
        tag: NAME of the embodiment tag.
        configs: the tag's modality configuration; `modality` is the same as plain JSON data.
        action_dims, action_horizon: width of all action keys together, and number of steps of a prediction.
        denoising_steps: Euler steps of the flow.
    """

    def __init__(
        self,
        checkpoint: Path | str,
        tag: str | None = None,
        device: str | torch.device | None = None,
        *,
        denoising_steps: int | None = None,
        tokenizer: str | Path | None = None,
        model: Gr00tN1d6 | None = None,
    ) -> None:
        """Load a checkpoint.

        Args:
            checkpoint: local folder with config.json, weights, processor_config.json and statistics.json.
            tag: embodiment tag by name or value; may be left out where the checkpoint has a single one.
            device: where the model runs; a GPU if there is one.
            denoising_steps: the checkpoint's own number when not given.
            tokenizer: where the tokenizer comes from for checkpoints without one, as NVIDIA's; see `Processor.from_directory`.
            model: other weights to use with this checkpoint's processing, such as those before finetuning; cast and moved in place.

        Raises:
            ConfigurationError: the checkpoint does not know the tag, or knows several and none was given; a device that is not there.
            DataError: files are missing or broken.
        """
        self.checkpoint = Path(checkpoint)
        self.device = inference_device(device)
        self.processor = Processor.from_directory(self.checkpoint, tokenizer)
        self.tag = choose_tag(tag, self.processor.tags, str(self.checkpoint))
        self.configs: ModalityConfigs = self.processor.configs(self.tag)
        self.modality: dict[str, Any] = modality_configs_json(self.configs)
        _, self.action_dims, self.action_horizon = self.processor.dims(self.tag)
        if model is None:
            model = load_model(self.checkpoint, device=self.device, dtype_policy=inference_dtypes(self.device))
        else:
            apply_dtype_policy(model, inference_dtypes(self.device))
        self.model = model.to(self.device).eval().requires_grad_(False)
        self.denoising_steps = denoising_steps or self.model.config.num_inference_timesteps

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
            observation: ``{"video": {key: uint8 [B, T, H, W, 3]}, "state": {key: float32 [B, T, D]}, "language": {key: B lists of one
                text}}``, T being the modality's number of frames.
            options: accepted as in the reference's interface, where a model's policy has none either.
            seed: noise that is the same at every call: one number for the batch, or one (or a tuple of numbers) per sample, whose noise
                then depends on nothing else in the batch. Without it noise is drawn from `generator`, or torch's own.

        Returns:
            ``{action key: float32 [B, horizon, D]}`` absolute actions in the robot's units, and an empty map for information.

        Raises:
            DataError: the observation lacks a key or has a wrong type or shape; the sentence names it.
        """
        samples = split_observation(observation, self.configs, self.tag)
        noise = self._noise(seed, len(samples), generator)
        states = {key: observation["state"][key] for key in self.configs["state"].modality_keys}
        # On a CPU a larger batch gains little, and its sums end in other last bits than those of single samples.
        size = 1 if self.device.type == "cpu" else len(samples)
        predicted = [
            self._predict(samples[at : at + size], noise[at : at + size]) for at in range(0, len(samples), size)
        ]
        return self.processor.decode_action(torch.cat(predicted), self.tag, states), {}

    def reset(self, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Begin a new episode: nothing is remembered between calls, so there is nothing to do."""
        return {}

    def _predict(self, samples: list[dict[str, Any]], noise: torch.Tensor) -> torch.Tensor:
        """Normalized actions float32 [B, H, Dmax]."""
        batch = self.processor.collate([self.processor.process(sample, train=False) for sample in samples])
        batch = {key: _moved(value, self.device) for key, value in batch.items()}
        with torch.inference_mode():
            return self.model.predict(batch, noise=noise.to(self.device), steps=self.denoising_steps).float()

    def _noise(self, seed: int | Sequence[Seed] | None, batch: int, generator: torch.Generator | None) -> torch.Tensor:
        shape = (self.model.config.action_horizon, self.model.config.max_action_dim)
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


def choose_tag(tag: str | None, known: Sequence[str], where: str) -> str:
    """The NAME of the tag to use among those that a checkpoint can be used with.

    Raises:
        ConfigurationError: the checkpoint does not know it, or knows several (or none) and none is named.
    """
    has = ", ".join(known) or "none"
    if tag is None:
        if len(known) != 1:
            raise ConfigurationError(f"name the embodiment tag with which {where} is to be used; it has {has}")
        return known[0]
    name = resolve_tag(tag, known)
    if name not in known:
        raise ConfigurationError(f"{where} was not trained for embodiment tag {name}; it has {has}")
    return name


def inference_device(device: str | torch.device | None) -> torch.device:
    """The device that is asked for; a GPU if there is one when none is.

    Raises:
        ConfigurationError: a GPU is asked for that torch cannot use.
    """
    wanted = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if wanted.type == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(
            f"device {wanted} was asked for, but torch sees no GPU here; leave the device out or say cpu"
        )
    return wanted


def inference_dtypes(device: torch.device) -> DtypePolicy:
    """How weights are held for inference: bf16 on a GPU, as in the reference, and float32 on a CPU."""
    return "bf16" if device.type == "cuda" else "fp32"


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, list):
        return [_moved(item, device) for item in value]
    return value.to(device) if isinstance(value, torch.Tensor) else value
