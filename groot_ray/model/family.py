"""The seam between one model family and everything that uses models: its protocol, and the registry by `model_type`.

A family is what `config.json` calls `model_type`; GR00T N1.6 is one. Training, policy, evaluation and parity ask the
family of a checkpoint for its network, processor and limits, and never name its classes.

To add a family, write ``model/<name>/family.py`` with an object that has the members of `ModelFamily` and add its line
to `_BUILT_IN`. A family in another package registers under the entry-point group ``groot_ray.model_families``, or calls
`register`.

This module imports neither torch nor a family, so that a document can be checked without them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from groot_ray.errors import ConfigurationError, did_you_mean
from groot_ray.json_file import read_json_object
from groot_ray.model.shared.protocols import DtypePolicy, Limits, LossInputs, ModelConfig, Processor, ProcessorOptions
from groot_ray.model.shared.tags import EmbodimentTag
from groot_ray.model.shared.tune import TuneFlags

if TYPE_CHECKING:
    import torch

    from groot_ray.model.shared.network import PolicyNetwork

__all__ = [
    "DtypePolicy",
    "Limits",
    "LossInputs",
    "ModelConfig",
    "ModelFamily",
    "Processor",
    "ProcessorOptions",
    "TrainingPeaks",
    "checkpoint_patterns",
    "default_family",
    "default_modality_configs",
    "families",
    "family_named",
    "family_of",
    "family_with_size",
    "known_tags",
    "model_types",
    "processor_files",
    "register",
]

CONFIG = "config.json"
COPY_AGAIN = "copy the checkpoint again"
ENTRY_POINTS = "groot_ray.model_families"
DEFAULT = "Gr00tN1d6"  # the default family where no model is named

_BUILT_IN = {"Gr00tN1d6": "groot_ray.model.n1d6.family:FAMILY"}


TrainingPeaks: TypeAlias = Mapping[int, tuple[tuple[int, float], tuple[int, float]]]
"""By number of views: (samples in a micro-batch, peak GiB) twice; in between the peak grows linearly."""


class ModelFamily(Protocol):
    """One model family. An object without state; importing its module must not import torch.

    Attributes:
        model_type: `model_type` of config.json, the key in the registry.
        title: the family's name for people, such as ``GR00T N1.6``.
        sizes: names of the sizes that `new_config` can make; the published checkpoint's comes first.
        limits: those of the published checkpoint; a checkpoint's own are in its configuration.
        parameters: number of a model's parameters by size.
        training_peaks: measured peak GPU memory of training, see `TrainingPeaks`, by size; empty where nothing was
            measured.
        tags: embodiment tags that the family knows without a checkpoint, by NAME.
        file_patterns: files of a checkpoint folder that finetuning and serving need (``fnmatch``, relative paths).
        required_files: without these a folder is not a checkpoint of this family.
        processor_file: the one of them that bare weights lack.
    """

    model_type: str
    title: str
    sizes: tuple[str, ...]
    limits: Limits
    parameters: Mapping[str, int]
    training_peaks: Mapping[str, TrainingPeaks]
    tags: Mapping[str, EmbodimentTag]
    file_patterns: tuple[str, ...]
    required_files: tuple[str, ...]
    processor_file: str

    def default_modality_configs(self, tag: str) -> dict[str, dict[str, Any]] | None:
        """The family's own modality configuration of a tag as plain data; None where it has none."""
        ...

    def new_config(self, size: str) -> ModelConfig:
        """The configuration of a size.

        Raises:
            ConfigurationError: there is no such size.
        """
        ...

    def read_config(self, folder: Path) -> ModelConfig:
        """The configuration of a checkpoint folder.

        Raises:
            DataError: config.json is missing, broken or another family's.
        """
        ...

    def build_network(self, config: ModelConfig) -> PolicyNetwork:
        """The network on torch's current default device, its weights drawn from torch's generator
        (none on ``meta``).
        """
        ...

    def new_network(
        self, size: str, seed: int, *, flags: TuneFlags | None = None, state_dropout_prob: float | None = None
    ) -> PolicyNetwork:
        """A network with fresh float32 weights on the CPU: a pure function of size and seed.

        `flags` and `state_dropout_prob` go into its configuration; `apply_tune_flags` makes the flags take effect.
        """
        ...

    def load_network(
        self,
        folder: Path,
        *,
        device: str | torch.device = "cpu",
        dtype_policy: DtypePolicy = "fp32",
        flags: TuneFlags | None = None,
        state_dropout_prob: float | None = None,
    ) -> PolicyNetwork:
        """The network of a checkpoint folder.

        Args:
            dtype_policy: ``fp32`` or ``bf16`` for all tensors, or ``reference`` for the dtypes of NVIDIA's finetuning.
            flags: what trains; applied, and written into the configuration. Everything trains without them.
            state_dropout_prob: replaces the checkpoint's.

        Raises:
            DataError: a file or tensor is missing, unknown or broken.
        """
        ...

    def tokenizer_source(self, size: str) -> str:
        """Where the tokenizer of a model with fresh weights comes from: a hub repository, or a name that
        `new_processor` takes.
        """
        ...

    def fetch_tokenizer(self, folder: Path, source: str | Path | None = None, cache: Path | None = None) -> None:
        """Store the tokenizer in a checkpoint folder: from `source`, or the family's default where the folder has none.

        `cache` is the hub library's cache folder. A family without a tokenizer does nothing.

        Raises:
            ConfigurationError: the source does not exist, or its vocabulary is not the model's.
            ServiceUnavailableError: the hub does not answer.
        """
        ...

    def new_processor(
        self, config: ModelConfig, tokenizer: str | Path | None = None, options: ProcessorOptions | None = None
    ) -> Processor:
        """A processor without any tag yet, as wide as `config`, otherwise set up as the published checkpoint's."""
        ...

    def load_processor(
        self, folder: Path, tokenizer: str | Path | None = None, options: ProcessorOptions | None = None
    ) -> Processor:
        """The processor of a checkpoint folder.

        `tokenizer` replaces the checkpoint's own: a hub repository, a folder, or a name that the family knows.

        Raises:
            ConfigurationError: a file is missing or is another family's.
        """
        ...


_registered: dict[str, ModelFamily] = {}


def register(family: ModelFamily) -> None:
    """Add a family for this process.

    Raises:
        ConfigurationError: another family has this `model_type`.
    """
    known = _registered.get(family.model_type)
    if family.model_type in _BUILT_IN or (known is not None and known is not family):
        raise ConfigurationError(f"model type {family.model_type!r} is already registered; choose another model_type")
    _registered[family.model_type] = family


def model_types() -> list[str]:
    """All known values of `model_type`, built-in ones first."""
    return list(dict.fromkeys([*_BUILT_IN, *_registered, *_entry_points()]))


def families() -> list[ModelFamily]:
    """All known families, in the order of `model_types`."""
    return [family_named(name) for name in model_types()]


def family_named(model_type: str) -> ModelFamily:
    """The family of a `model_type`.

    Raises:
        ConfigurationError: no family has it; the message lists the known ones.
    """
    if model_type in _registered:
        return _registered[model_type]
    if model_type in _BUILT_IN:
        module, _, name = _BUILT_IN[model_type].partition(":")
        found = getattr(import_module(module), name)
    else:
        points = _entry_points()
        if model_type not in points:
            known = model_types()
            raise ConfigurationError(
                f"model type {model_type!r} is unknown{did_you_mean(model_type, known)}; known are {', '.join(known)}"
            )
        found = points[model_type].load()
    _registered[model_type] = cast(ModelFamily, found)
    return _registered[model_type]


def family_of(source: Path | str | ModelConfig | Mapping[str, Any]) -> ModelFamily:
    """The family of a checkpoint folder, of a configuration, or of the content of a `config.json`.

    A config.json without `model_type` is read as the default family's, as NVIDIA's own loader does.

    Raises:
        ConfigurationError: the folder has no config.json, or no family has its `model_type`.
        DataError: config.json is not a JSON object.
    """
    if isinstance(source, (str, Path)):
        folder = Path(source)
        if not (folder / CONFIG).is_file():
            raise ConfigurationError(f"{folder} is not a checkpoint: it has no {CONFIG}; name a checkpoint's folder")
        try:
            return family_named(_model_type(read_json_object(folder / CONFIG, COPY_AGAIN)))
        except ConfigurationError as error:
            raise ConfigurationError(f"{folder / CONFIG}: {error}") from None
    if isinstance(source, Mapping):
        return family_named(_model_type(source))
    return family_named(source.model_type)


def family_with_size(size: str) -> ModelFamily:
    """The family that has a size of this name.

    Raises:
        ConfigurationError: none has it.
    """
    sizes: dict[str, ModelFamily] = {}
    for family in families():
        for name in family.sizes:
            sizes.setdefault(name, family)
    if size not in sizes:
        raise ConfigurationError(
            f"there is no model size {size!r}{did_you_mean(size, sizes)}; sizes are {', '.join(sizes)}"
        )
    return sizes[size]


def default_family() -> ModelFamily:
    """The default family where no model is named, such as for the limits of an embodiment by itself."""
    return family_named(DEFAULT)


def known_tags() -> dict[str, EmbodimentTag]:
    """The embodiment tags of all families by NAME; where two families share a name, the first family's."""
    tags: dict[str, EmbodimentTag] = {}
    for family in families():
        for name, tag in family.tags.items():
            tags.setdefault(name, tag)
    return tags


def default_modality_configs(tag: str) -> dict[str, dict[str, Any]] | None:
    """The first family's own modality configuration of a tag, by name or value; None where no family has one."""
    return next((c for c in (family.default_modality_configs(tag) for family in families()) if c is not None), None)


def checkpoint_patterns() -> tuple[str, ...]:
    """The files that a checkpoint of any family may need, as ``fnmatch`` patterns; fetched before its family is
    known.
    """
    return tuple(dict.fromkeys(pattern for family in families() for pattern in family.file_patterns))


def processor_files() -> tuple[str, ...]:
    """Files that distinguish a checkpoint from bare weights: one per family."""
    return tuple(dict.fromkeys(family.processor_file for family in families()))


def _model_type(content: Mapping[str, Any]) -> str:
    return str(content.get("model_type", DEFAULT))


def _entry_points() -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in _points()}


def _points() -> Iterator[metadata.EntryPoint]:
    yield from metadata.entry_points(group=ENTRY_POINTS)
