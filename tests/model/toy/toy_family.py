"""A model family that the package does not know: a linear policy with a regression loss, in a separate file.

It shares the packages' parts for state and action, and has its own configuration, network, processor files and draws.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from groot_ray.json_file import read_json_object
from groot_ray.model.family import DtypePolicy, Limits, ModelConfig, ProcessorOptions, TrainingPeaks
from groot_ray.model.shared.camera_images import CameraImages
from groot_ray.model.shared.embodiments import Embodiments
from groot_ray.model.shared.modality import ModalityConfigs
from groot_ray.model.shared.network import Batch, PolicyNetwork
from groot_ray.model.shared.state_action import Switches
from groot_ray.model.shared.tags import EmbodimentTag
from groot_ray.model.shared.trainable import apply_tune_flags
from groot_ray.model.shared.transform import Signal
from groot_ray.model.shared.tune import NamedPart, TuneFlags
from groot_ray.model.shared.weights import load_weights

MODEL_TYPE = "toy"
PROCESSOR = "toy_processor.json"
TAGS = {name: EmbodimentTag(name, name.lower(), number) for number, name in enumerate(("NEW_EMBODIMENT", "GR1"))}


@dataclass(frozen=True)
class Jitter:
    """A small shift of the state, drawn for each sample."""

    dims: int

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray | np.float32]:
        """``shift`` float32 [dims]."""
        return {"shift": 0.01 * rng.standard_normal(self.dims, dtype=np.float32)}


@dataclass(frozen=True)
class ToyConfig:
    """Values of config.json."""

    state_dim: int = 40
    action_dim: int = 36
    action_horizon: int = 20
    tune_projector: bool = True

    @property
    def model_type(self) -> str:
        return MODEL_TYPE

    @property
    def limits(self) -> Limits:
        return Limits(self.state_dim, self.action_dim, self.action_horizon)

    @property
    def loss_inputs(self) -> Jitter:
        return Jitter(self.state_dim)

    @property
    def denoising_steps(self) -> int:
        return 1

    @property
    def tune_top_llm_layers(self) -> int:
        return 0

    def to_json(self) -> dict[str, Any]:
        return {"model_type": MODEL_TYPE, **asdict(self)}


class ToyNetwork(PolicyNetwork):
    """State and the mean color of all images to actions, by one layer."""

    parts = (NamedPart("policy", ("policy",), "tune_projector"),)

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.config: ToyConfig = config
        self.policy = nn.Linear(config.state_dim + 3, config.action_horizon * config.action_dim)

    def actions(self, state: Tensor, color: Tensor) -> Tensor:
        """Actions [B, H, D] of states [B, state_dim] and colors [B, 3]."""
        flat = self.policy(torch.cat([state, color], dim=-1))
        return flat.unflatten(-1, (self.config.action_horizon, self.config.action_dim))

    def forward(self, batch: Batch, **draws: Any) -> dict[str, Tensor]:
        actions = self.actions(batch["state"][:, -1] + draws["shift"], batch["color"])
        errors = (actions - batch["action"]).square() * batch["action_mask"]
        return {"loss_sum": errors.sum(), "mask_sum": batch["action_mask"].sum()}

    def predict(
        self,
        batch: Batch,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        steps: int | None = None,
    ) -> Tensor:
        return self.actions(batch["state"][:, -1], batch["color"])


@dataclass
class ToyProcessor:
    """State and action as the shared transforms make them, images as one color."""

    embodiments: Embodiments
    settings: dict[str, Any] = field(default_factory=dict)
    model_type: str = MODEL_TYPE

    @property
    def modality_configs(self) -> dict[str, Any]:
        return self.embodiments.modality_configs

    @property
    def statistics(self) -> dict[str, Any]:
        return self.embodiments.statistics

    @property
    def embodiment_ids(self) -> dict[str, int]:
        return self.embodiments.ids

    @property
    def tags(self) -> list[str]:
        return self.embodiments.tags

    def prepare(self) -> None:
        """There is nothing to fetch."""

    def configs(self, tag: str) -> ModalityConfigs:
        return self.embodiments.configs(tag)

    def dims(self, tag: str) -> tuple[int, int, int]:
        return self.embodiments.dims(tag)

    def set_embodiment(self, tag: str, modality_configs: Mapping[str, Any], statistics: Mapping[str, Any]) -> str:
        return self.embodiments.set(tag, modality_configs, statistics)

    def process(self, sample: Mapping[str, Any], train: bool, rng: np.random.Generator | None = None) -> dict[str, Any]:
        transforms = self.embodiments.transforms(sample["tag"])
        images = CameraImages.of(self.configs(sample["tag"])["video"])(sample["images"])
        state = transforms.unpadded.check_state(sample["state"])
        features = {
            "state": transforms.state(Signal(state)).joined,
            "color": np.mean([image.mean((0, 1)) for image in images], axis=0, dtype=np.float32) / 255,
        }
        if sample.get("action") is not None:
            features["action"] = transforms.action(Signal(sample["action"], state)).joined
            features["action_mask"] = transforms.action_mask(sample.get("action_valid"))
        return features

    def collate(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {key: torch.from_numpy(np.stack([f[key] for f in features])).float() for key in features[0]}

    def decode_action(
        self, action: np.ndarray | Tensor, tag: str, states: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        array = action.detach().cpu().numpy() if isinstance(action, Tensor) else action
        return self.embodiments.transforms(tag).decode(array, states)

    def save(self, directory: Path | str) -> None:
        content = {
            "limits": asdict(self.embodiments.limits),
            "modality_configs": self.modality_configs,
            "statistics": self.statistics,
        }
        (Path(directory) / PROCESSOR).write_text(json.dumps(content))


class Toy:
    """The family."""

    model_type = MODEL_TYPE
    title = "Toy"
    sizes = ("toy-small",)
    limits = ToyConfig().limits
    parameters: Mapping[str, int] = MappingProxyType({})
    training_peaks: Mapping[str, TrainingPeaks] = MappingProxyType({})
    tags = TAGS
    file_patterns = ("config.json", "model*.safetensors", PROCESSOR)
    required_files = ("config.json", PROCESSOR)
    processor_file = PROCESSOR

    def default_modality_configs(self, tag: str) -> None:
        return None

    def new_config(self, size: str) -> ToyConfig:
        return ToyConfig()

    def read_config(self, folder: Path) -> ToyConfig:
        values = read_json_object(folder / "config.json")
        return ToyConfig(**{name: value for name, value in values.items() if name != "model_type"})

    def build_network(self, config: ModelConfig) -> ToyNetwork:
        assert isinstance(config, ToyConfig)
        return ToyNetwork(config)

    def new_network(
        self, size: str, seed: int, *, flags: TuneFlags | None = None, state_dropout_prob: float | None = None
    ) -> ToyNetwork:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.build_network(self.new_config(size))

    def load_network(
        self,
        folder: Path,
        *,
        device: str | torch.device = "cpu",
        dtype_policy: DtypePolicy = "fp32",
        flags: TuneFlags | None = None,
        state_dropout_prob: float | None = None,
    ) -> ToyNetwork:
        config = self.read_config(folder)
        if flags is not None:
            config = replace(config, tune_projector=flags.tune_projector)
        network = self.build_network(config)
        if flags is not None:
            apply_tune_flags(network, flags)
        load_weights(network, folder, device, dtype_policy)
        return network

    def tokenizer_source(self, size: str) -> str:
        return ""

    def fetch_tokenizer(self, folder: Path, source: str | Path | None = None, cache: Path | None = None) -> None:
        """There is no tokenizer."""

    def new_processor(
        self, config: ModelConfig, tokenizer: str | Path | None = None, options: ProcessorOptions | None = None
    ) -> ToyProcessor:
        return self._processor(config.limits, {}, {})

    def load_processor(
        self, folder: Path, tokenizer: str | Path | None = None, options: ProcessorOptions | None = None
    ) -> ToyProcessor:
        content = read_json_object(folder / PROCESSOR)
        return self._processor(Limits(**content["limits"]), content["modality_configs"], content["statistics"])

    def _processor(self, limits: Limits, configs: Mapping[str, Any], statistics: Mapping[str, Any]) -> ToyProcessor:
        ids = {tag.value: tag.id for tag in TAGS.values()}
        return ToyProcessor(Embodiments(configs, statistics, ids, limits, Switches()))


FAMILY = Toy()
