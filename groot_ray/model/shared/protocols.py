"""The components of a model family as plain values and protocols: limits, options, configuration, draws of the loss,
processor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch

    from groot_ray.model.shared.modality import ModalityConfigs

DtypePolicy = Literal["reference", "fp32", "bf16"]


@dataclass(frozen=True)
class Limits:
    """The largest robot that a model takes: widths of its padded state and action inputs, and steps of a prediction."""

    state_dim: int
    action_dim: int
    action_horizon: int


@dataclass(frozen=True)
class ProcessorOptions:
    """What a run may change in a checkpoint's processor; None keeps the checkpoint's value.

    `random_rotation_angle` is in degrees. `extra_augmentation_config` augments masked image regions in training and is
    never saved. A family ignores options that it does not have.
    """

    random_rotation_angle: float | None = None
    color_jitter_params: Mapping[str, float] | None = None
    use_relative_action: bool | None = None
    state_dropout_prob: float | None = None
    extra_augmentation_config: Mapping[str, Any] | None = None


class LossInputs(Protocol):
    """Everything random that the loss of one sample needs, such as noise and time of flow matching."""

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray | np.float32]:
        """Draw for one sample, from `rng` alone.

        The trainer stacks the draws of a micro-batch and passes them by name: ``network(batch, **draws)``. N1.6 draws
        ``noise`` float32 [horizon, action_dim] and ``time`` float32 [] in [0, 1).
        """
        ...


class ModelConfig(Protocol):
    """The values of a checkpoint's `config.json`."""

    @property
    def model_type(self) -> str:
        """The family that the configuration belongs to."""
        ...

    @property
    def limits(self) -> Limits:
        """Widths and horizon of this model."""
        ...

    @property
    def loss_inputs(self) -> LossInputs:
        """What the trainer draws for a sample."""
        ...

    @property
    def denoising_steps(self) -> int:
        """Integration steps of a prediction, unless the caller names another number."""
        ...

    @property
    def tune_top_llm_layers(self) -> int:
        """Default number of last language layers that train."""
        ...

    def to_json(self) -> dict[str, Any]:
        """The content of `config.json`."""
        ...


class Processor(Protocol):
    """Samples in the robot's units to batches, and the model's actions back to the robot's units, for every embodiment
    tag.

    Attributes:
        model_type: the family that it belongs to.
        settings: the processor's plain settings, as in its file.
        modality_configs: plain modality configurations by tag value (``gr1``).
        statistics: ``{tag value: {state|action|relative_action: {key: {min, max, mean, std, q01, q99}}}}``.
        embodiment_ids: number of each tag's weights, by tag value; also the tags that `set_embodiment` takes.
    """

    model_type: str
    settings: dict[str, Any]
    modality_configs: dict[str, Any]
    statistics: dict[str, Any]
    embodiment_ids: dict[str, int]

    @property
    def tags(self) -> list[str]:
        """NAMES of the tags that can be used: those with a modality configuration and statistics."""
        ...

    def prepare(self) -> None:
        """Read or fetch now what would otherwise be read at the first batch, such as the tokenizer."""
        ...

    def configs(self, tag: str) -> ModalityConfigs:
        """The checked modality configuration of a tag, by name or value."""
        ...

    def dims(self, tag: str) -> tuple[int, int, int]:
        """State width, action width and action horizon of a tag."""
        ...

    def set_embodiment(self, tag: str, modality_configs: Mapping[str, Any], statistics: Mapping[str, Any]) -> str:
        """Use a dataset's modality configuration and statistics for a tag; returns a sentence for the log."""
        ...

    def process(self, sample: Mapping[str, Any], train: bool, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """One sample to the numbers that `collate` takes.

        Args:
            sample: ``images`` {camera: uint8 [T, H, W, 3]}, ``state`` {key: float32 [T, D]}, ``action`` {key: float32
                [H, D]} or None, ``language`` str, ``tag`` str; optionally ``action_valid`` bool [H] and ``masks``
                {camera: integer [T, H, W]}.
            train: augment images, and require an action.
            rng: the only source of randomness.

        Raises:
            DataError: a key is missing, has a wrong shape or is not finite.
        """
        ...

    def collate(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Features of B samples to a batch on the CPU: a dict of tensors, lists of tensors and plain values.

        The network reads it, so its keys are the family's own, except ``action_mask`` float32 [B, action_horizon,
        action_dim]: 1 for each element that counts in the loss (training only).
        """
        ...

    def decode_action(
        self, action: np.ndarray | torch.Tensor, tag: str, states: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """Normalized actions [B, action_horizon, action_dim] to absolute actions by key, float32 [B, H, D].

        `states` are the raw states [B, T, D] by key, from which relative actions start.
        """
        ...

    def save(self, directory: Path | str) -> None:
        """Write the processor's files into a checkpoint folder."""
        ...
