"""GR00T N1.6 as a model family: an implementation of the protocol in `model/family.py`.

Torch is imported when a network or a processor is made.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from groot_ray.json_file import read_json_object
from groot_ray.model.family import CONFIG, COPY_AGAIN, DtypePolicy, Limits, ModelConfig, ProcessorOptions
from groot_ray.model.n1d6.config import MODEL_TYPE, Gr00tConfig
from groot_ray.model.n1d6.sizes import PUBLIC, SIZES, config
from groot_ray.model.n1d6.tags import EMBODIMENT_TAGS, default_modality_configs
from groot_ray.model.n1d6.tokens import QWEN3
from groot_ray.model.shared.tokenizer import FOLDER, TINY, build_tokenizer, has_tokenizer

if TYPE_CHECKING:
    import torch

    from groot_ray.model.n1d6.network import Gr00tN1d6
    from groot_ray.model.n1d6.processor import Processor
    from groot_ray.model.shared.tune import TuneFlags

_OVERRIDES = "eagle_overrides.json"


class N1d6:
    """The family of NVIDIA's GR00T N1.6; see `ModelFamily`."""

    model_type = MODEL_TYPE
    title = "GR00T N1.6"
    sizes = tuple(SIZES)
    limits = Limits(PUBLIC["max_state_dim"], PUBLIC["max_action_dim"], PUBLIC["action_horizon"])
    # Default parts in bf16, on one H200. A process keeps weights, gradients and AdamW's moments, whatever the batch.
    parameters = MappingProxyType({"3b": 3_286_608_832, "tiny": 9_624_704})
    training_peaks = MappingProxyType({"3b": {1: ((16, 33.5), (64, 38.0)), 3: ((32, 35.1), (64, 46.3))}})
    tags = EMBODIMENT_TAGS
    required_files = ("config.json", "processor_config.json", "statistics.json")
    processor_file = "processor_config.json"
    # Weights as safetensors only: other formats run code when they are read. Optimizer state is not fetched.
    file_patterns = (
        "config.json",
        "model*.safetensors",
        "model.safetensors.index.json",
        "processor_config.json",
        "statistics.json",
        "embodiment_id.json",
        "tokenizer/*",
        "LICENSE*",
        "README.md",
    )

    def default_modality_configs(self, tag: str) -> dict[str, dict[str, Any]] | None:
        """NVIDIA's own modality configuration of a tag."""
        return default_modality_configs(tag)

    def new_config(self, size: str) -> Gr00tConfig:
        """The configuration of a size (``3b``, ``tiny``)."""
        return config(size)

    def read_config(self, folder: Path) -> Gr00tConfig:
        """Read config.json, and ``eagle_overrides.json`` if the backbone's sizes are in this separate file."""
        folder = Path(folder)
        data = read_json_object(folder / CONFIG, COPY_AGAIN)
        if (folder / _OVERRIDES).is_file():
            data = {**data, "eagle_overrides": read_json_object(folder / _OVERRIDES, COPY_AGAIN)}
        return Gr00tConfig.from_json(data)

    def build_network(self, config: ModelConfig) -> Gr00tN1d6:
        """The network of a configuration."""
        from groot_ray.model.n1d6.network import Gr00tN1d6

        return Gr00tN1d6(cast(Gr00tConfig, config))

    def new_network(
        self, size: str, seed: int, *, flags: TuneFlags | None = None, state_dropout_prob: float | None = None
    ) -> Gr00tN1d6:
        """Fresh float32 weights on the CPU."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.build_network(_overridden(self.new_config(size), flags, state_dropout_prob))

    def load_network(
        self,
        folder: Path,
        *,
        device: str | torch.device = "cpu",
        dtype_policy: DtypePolicy = "fp32",
        flags: TuneFlags | None = None,
        state_dropout_prob: float | None = None,
    ) -> Gr00tN1d6:
        """The network of a checkpoint folder."""
        import torch

        from groot_ray.model.shared.trainable import apply_tune_flags
        from groot_ray.model.shared.weights import load_weights

        with torch.device("meta"):
            network = self.build_network(_overridden(self.read_config(folder), flags, state_dropout_prob))
        if flags is not None:
            apply_tune_flags(network, flags)
        load_weights(network, Path(folder), device, dtype_policy)
        return network

    def tokenizer_source(self, size: str) -> str:
        """The tiny model has its own tokenizer; others use Qwen3's."""
        return TINY if size == "tiny" else QWEN3.repository

    def fetch_tokenizer(self, folder: Path, source: str | Path | None = None, cache: Path | None = None) -> None:
        """Store the tokenizer under ``tokenizer/``, which NVIDIA's checkpoint lacks."""
        if source is not None or not has_tokenizer(folder):
            build_tokenizer(source or QWEN3.repository, QWEN3, cache).save(folder / FOLDER)

    def new_processor(
        self, config: ModelConfig, tokenizer: str | Path | None = None, options: ProcessorOptions | None = None
    ) -> Processor:
        """A processor without tags, with the settings of NVIDIA's public checkpoint."""
        from groot_ray.model.n1d6.processor import Processor

        limits, options = config.limits, options or ProcessorOptions()
        return Processor.new(
            tokenizer or TINY,
            extra_augmentation_config=options.extra_augmentation_config,
            random_rotation_angle=options.random_rotation_angle,
            color_jitter_params=options.color_jitter_params,
            max_state_dim=limits.state_dim,
            max_action_dim=limits.action_dim,
            max_action_horizon=limits.action_horizon,
        )

    def load_processor(
        self, folder: Path, tokenizer: str | Path | None = None, options: ProcessorOptions | None = None
    ) -> Processor:
        """The checkpoint's processor; of its settings only those in `options` can be replaced, as in NVIDIA's code."""
        from groot_ray.model.n1d6.processor import Processor

        options = options or ProcessorOptions()
        return Processor.from_directory(
            folder,
            tokenizer,
            random_rotation_angle=options.random_rotation_angle,
            color_jitter_params=options.color_jitter_params,
            use_relative_action=options.use_relative_action,
            extra_augmentation_config=options.extra_augmentation_config,
        )


def _overridden(config: Gr00tConfig, flags: TuneFlags | None, state_dropout_prob: float | None) -> Gr00tConfig:
    """The configuration with a run's options in it, which a checkpoint of the run then records."""
    values: dict[str, Any] = {} if flags is None else dict(vars(flags))
    if state_dropout_prob is not None:
        values["state_dropout_prob"] = state_dropout_prob
    return config.replace(**values)


FAMILY = N1d6()
