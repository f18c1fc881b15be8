"""Checkpoints of the network: `config.json` and safetensors, in NVIDIA's names, in and out.

A folder holds ``model.safetensors``, or several shards with ``model.safetensors.index.json``. Tensors may be of any float dtype: they are cast to
what the model wants of them. Loading builds the model without memory (on the meta device) and puts the tensors in, so that no more than the
weights and one tensor are held at a time.
"""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.model.n1d6.config import Gr00tConfig
from groot_ray.model.n1d6.network import Gr00tN1d6
from groot_ray.model.n1d6.sizes import config as size_config
from groot_ray.model.shared.tensor_file import write_tensors
from groot_ray.model.shared.trainable import TuneFlags, apply_tune_flags

DtypePolicy = Literal["reference", "fp32", "bf16"]
log = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000  # as transformers does
_MASK_TOKEN = "action_head.mask_token"
_OVERRIDES = "eagle_overrides.json"


def new_model(size: str = "tiny", seed: int = 0, **overrides: Any) -> Gr00tN1d6:
    """A model with fresh weights in float32; the same (size, seed) gives the same weights on every machine.

    `overrides` are values of the configuration, such as ``state_dropout_prob=0.2``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Gr00tN1d6(size_config(size).replace(**overrides))


def read_config(directory: Path) -> Gr00tConfig:
    """Read `config.json` of a checkpoint folder, and ``eagle_overrides.json`` where sizes of the backbone stand in a file of their own.

    Raises:
        DataError: it is missing, broken or another model's.
    """
    directory = Path(directory)
    if not (directory / "config.json").is_file():
        raise DataError(f"{directory} is no checkpoint: it has no config.json")
    data = _read_json(directory / "config.json")
    if (directory / _OVERRIDES).is_file():
        data = {**data, "eagle_overrides": _read_json(directory / _OVERRIDES)}
    return Gr00tConfig.from_json(data)


def _read_json(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{file} is not valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise DataError(f"{file} is no JSON object")
    return data


def load_model(
    directory: Path | str,
    *,
    device: str | torch.device = "cpu",
    dtype_policy: DtypePolicy = "fp32",
    flags: TuneFlags | None = None,
    **overrides: Any,
) -> Gr00tN1d6:
    """Load a checkpoint folder.

    Args:
        dtype_policy: ``fp32`` or ``bf16`` for all tensors; ``reference`` for what NVIDIA's finetuning uses: the backbone in bf16 but for
            what of it trains, the rest in float32.
        flags: what trains; frozen parameters get no gradient. Without flags everything is left trainable.
        overrides: values of the configuration that replace the checkpoint's, such as ``state_dropout_prob=0.2``.

    Raises:
        DataError: files are missing or broken, or tensors are missing, unknown or of the wrong shape; the sentence names one.
    """
    directory = Path(directory)
    config = read_config(directory).replace(**overrides)
    with torch.device("meta"):
        model = Gr00tN1d6(config)
    if flags is not None:
        apply_tune_flags(model, flags)
    wanted = dict(model.named_parameters())
    dtype_of = _dtypes(wanted, dtype_policy)
    seen: set[str] = set()
    for name, tensor in _tensors(directory):
        if name not in wanted:
            if name == _MASK_TOKEN:  # stored by a run with state dropout; this one has none
                log.info("%s has a mask token, which is left out: there is no state dropout here", directory)
                continue
            raise DataError(
                f"{directory}: tensor {name!r} is unknown to GR00T N1.6 with this config.json; is it another model's checkpoint?"
            )
        parameter = wanted[name]
        if tensor.shape != parameter.shape:
            raise DataError(
                f"{directory}: tensor {name!r} has shape {list(tensor.shape)}, but config.json implies {list(parameter.shape)}"
            )
        if not tensor.is_floating_point():
            raise DataError(
                f"{directory}: tensor {name!r} holds {tensor.dtype}, not floating-point numbers; quantized checkpoints cannot be used"
            )
        # A copy: the file's mapped memory lies at odd addresses, on which the last bits of matrix products on a CPU depend.
        _place(model, name, tensor.to(device=device, dtype=dtype_of(name), copy=True), parameter.requires_grad)
        seen.add(name)
    missing = [name for name in wanted if name not in seen]
    if missing == [_MASK_TOKEN]:  # a fresh token, as a fresh model would have
        log.info("%s has no mask token; state dropout begins with a fresh one", directory)
        fresh = 0.02 * torch.randn(wanted[_MASK_TOKEN].shape, generator=torch.Generator().manual_seed(0))
        _place(
            model, _MASK_TOKEN, fresh.to(device=device, dtype=dtype_of(_MASK_TOKEN)), wanted[_MASK_TOKEN].requires_grad
        )
    elif missing:
        raise DataError(
            f"{directory} lacks {len(missing)} of {len(wanted)} tensors, the first is {missing[0]!r}; the checkpoint is not whole"
        )
    return model


def apply_dtype_policy(model: Gr00tN1d6, policy: DtypePolicy) -> None:
    """Cast the parameters of a model in place; see `load_model`."""
    parameters = dict(model.named_parameters())
    dtype_of = _dtypes(parameters, policy)
    for name, parameter in parameters.items():
        parameter.data = parameter.data.to(dtype_of(name))


def _dtypes(parameters: dict[str, nn.Parameter], policy: DtypePolicy) -> Callable[[str], torch.dtype]:
    if policy not in ("reference", "fp32", "bf16"):
        raise ConfigurationError(f"there is no dtype policy {policy!r}; there are reference, fp32 and bf16")

    def dtype(name: str) -> torch.dtype:
        if policy == "bf16":
            return torch.bfloat16
        frozen_backbone = name.startswith("backbone.") and not parameters[name].requires_grad
        return torch.bfloat16 if policy == "reference" and frozen_backbone else torch.float32

    return dtype


def _place(model: nn.Module, name: str, tensor: Tensor, requires_grad: bool) -> None:
    """Put a tensor in the place of a parameter."""
    path, _, last = name.rpartition(".")
    setattr(model.get_submodule(path), last, nn.Parameter(tensor, requires_grad=requires_grad))


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files of a checkpoint folder in order; raises DataError when one is missing."""
    directory = Path(directory)
    index = directory / INDEX
    if index.exists():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (json.JSONDecodeError, KeyError, AttributeError) as error:
            raise DataError(f"{index} is broken ({error}); copy the checkpoint again") from None
    else:
        names = [WEIGHTS]
    for name in names:
        if not (directory / name).is_file():
            raise DataError(f"{directory} has no {name}; the checkpoint is not whole")
    return [directory / name for name in names]


def _tensors(directory: Path) -> Iterator[tuple[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    for file in weight_files(directory):
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 (not a dict)
                    yield name, opened.get_tensor(name)
        except SafetensorError as error:
            raise DataError(f"{file} is no readable safetensors file ({error}); copy the checkpoint again") from None


def tensor_headers(directory: Path) -> dict[str, dict[str, Any]]:
    """Name, dtype and shape of every stored tensor, read from the files' headers only."""
    headers: dict[str, dict[str, Any]] = {}
    for file in weight_files(directory):
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            headers |= {k: v for k, v in json.loads(stream.read(length)).items() if k != "__metadata__"}
    return headers


def save_model(
    model: Gr00tN1d6,
    directory: Path | str,
    max_shard_bytes: int = SHARD_BYTES,
    names: Callable[[str], bool] | None = None,
) -> list[Path]:
    """Write `config.json` and the weights (all, or those for which `names` is true) and return the files written.

    Tensors keep their dtypes. One file, or shards of at most `max_shard_bytes` (a larger tensor has one of its own) with an index.
    """
    tensors = {k: v for k, v in model.state_dict().items() if names is None or names(k)}
    return save_tensors(tensors, model.config, directory, max_shard_bytes)


def save_tensors(
    tensors: Mapping[str, Tensor], config: Gr00tConfig, directory: Path | str, max_shard_bytes: int = SHARD_BYTES
) -> list[Path]:
    """`save_model` of tensors that were taken from a model before, such as a copy made while it trains on."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    shards = _shards(tensors, max_shard_bytes)
    files = []
    weight_map: dict[str, str] = {}
    for number, keys in enumerate(shards, 1):
        name = WEIGHTS if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_tensors(directory / name, {key: tensors[key] for key in keys}, {"format": "pt"})
        weight_map |= dict.fromkeys(keys, name)
        files.append(directory / name)
    if len(shards) > 1:
        total = sum(t.numel() * t.element_size() for t in tensors.values())
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        (directory / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        files.append(directory / INDEX)
    (directory / "config.json").write_text(json.dumps(config.to_json(), indent=2) + "\n", encoding="utf-8")
    return [*files, directory / "config.json"]


def _shards(tensors: Mapping[str, Tensor], limit: int) -> list[list[str]]:
    shards: list[list[str]] = [[]]
    held = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if shards[-1] and held + size > limit:
            shards.append([])
            held = 0
        shards[-1].append(name)
        held += size
    return shards
