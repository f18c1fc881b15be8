"""Checkpoints of a network: safetensors and `config.json`, in and out, under NVIDIA's names.

A folder holds ``model.safetensors``, or several shards with ``model.safetensors.index.json``. Tensors may have any
float dtype; they are cast to the network's dtypes. A network is built without memory (on the meta device) and
filled tensor by tensor, so loading never needs more memory than the weights and one tensor.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.json_file import read_json_object
from groot_ray.model.shared.network import PolicyNetwork
from groot_ray.model.shared.tensor_file import write_tensors

if TYPE_CHECKING:
    from groot_ray.model.shared.protocols import DtypePolicy, ModelConfig

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000  # as transformers does


def load_weights(
    network: PolicyNetwork, directory: Path, device: str | torch.device = "cpu", dtype_policy: DtypePolicy = "fp32"
) -> None:
    """Replace the network's parameters, which may be on the meta device, by the tensors of a checkpoint folder.

    `requires_grad` is kept; see `ModelFamily.load_network` for `dtype_policy`.

    Raises:
        DataError: a file is missing or broken, or a tensor is missing, unknown or of the wrong shape; the message
            names one.
    """
    wanted = dict(network.named_parameters())
    dtype_of = _dtypes(network, dtype_policy)
    seen: set[str] = set()
    for name, tensor in _tensors(directory):
        if name not in wanted:
            if network.ignores(name):
                continue
            raise DataError(
                f"{directory}: tensor {name!r} is unknown to {network.config.model_type} with this config.json; "
                "is it another model's checkpoint?"
            )
        parameter = wanted[name]
        _check(directory, name, tensor, parameter)
        # A copy: mapped memory of the file is at odd addresses, on which the last bits of matrix products on a CPU
        # depend.
        _place(network, name, tensor.to(device=device, dtype=dtype_of(name, parameter), copy=True), parameter)
        seen.add(name)
    missing = [name for name in wanted if name not in seen]
    fresh = {name: network.fresh(name) for name in missing}
    if any(tensor is None for tensor in fresh.values()):
        first = next(name for name, tensor in fresh.items() if tensor is None)
        raise DataError(
            f"{directory} lacks {len(missing)} of {len(wanted)} tensors, such as {first!r}; the checkpoint is "
            "incomplete, copy it again"
        )
    for name, values in fresh.items():
        assert values is not None
        parameter = wanted[name]
        _place(network, name, values.to(device=device, dtype=dtype_of(name, parameter)), parameter)


def apply_dtype_policy(network: PolicyNetwork, policy: DtypePolicy) -> None:
    """Cast the parameters of a network in place; see `ModelFamily.load_network`."""
    dtype_of = _dtypes(network, policy)
    for name, parameter in network.named_parameters():
        parameter.data = parameter.data.to(dtype_of(name, parameter))


def _dtypes(network: PolicyNetwork, policy: DtypePolicy) -> Callable[[str, nn.Parameter], torch.dtype]:
    if policy == "reference":
        return network.dtype_of
    if policy not in ("fp32", "bf16"):
        raise ConfigurationError(f"there is no dtype policy {policy!r}; there are reference, fp32 and bf16")
    dtype = torch.bfloat16 if policy == "bf16" else torch.float32
    return lambda name, parameter: dtype


def _check(directory: Path, name: str, tensor: Tensor, parameter: nn.Parameter) -> None:
    if tensor.shape != parameter.shape:
        raise DataError(
            f"{directory}: tensor {name!r} has shape {list(tensor.shape)}, but config.json implies "
            f"{list(parameter.shape)}; "
            "use the config.json that belongs to the weights"
        )
    if not tensor.is_floating_point():
        raise DataError(
            f"{directory}: tensor {name!r} holds {tensor.dtype}, not floating-point numbers; quantized checkpoints "
            "cannot be used"
        )


def _place(network: nn.Module, name: str, tensor: Tensor, parameter: nn.Parameter) -> None:
    """Replace a parameter by a tensor."""
    path, _, last = name.rpartition(".")
    setattr(network.get_submodule(path), last, nn.Parameter(tensor, requires_grad=parameter.requires_grad))


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files of a checkpoint folder in order; raises DataError when one is missing."""
    directory = Path(directory)
    index = directory / INDEX
    if index.exists():
        weight_map = read_json_object(index, "copy the checkpoint again").get("weight_map")
        if not isinstance(weight_map, dict):
            raise DataError(f"{index} has no weight_map; copy the checkpoint again")
        names = sorted(set(weight_map.values()))
    else:
        names = [WEIGHTS]
    for name in names:
        if not (directory / name).is_file():
            raise DataError(f"{directory} has no {name}; the checkpoint is incomplete, copy it again")
    return [directory / name for name in names]


def _tensors(directory: Path) -> Iterator[tuple[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    for file in weight_files(directory):
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 (not a dict)
                    yield name, opened.get_tensor(name)
        except SafetensorError as error:
            raise DataError(f"{file} is not a readable safetensors file ({error}); copy the checkpoint again") from None


def tensor_headers(directory: Path) -> dict[str, dict[str, Any]]:
    """Name, dtype and shape of every stored tensor, read from the files' headers only."""
    headers: dict[str, dict[str, Any]] = {}
    for file in weight_files(directory):
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            headers |= {k: v for k, v in json.loads(stream.read(length)).items() if k != "__metadata__"}
    return headers


def save_network(
    network: PolicyNetwork,
    directory: Path | str,
    max_shard_bytes: int = SHARD_BYTES,
    names: Callable[[str], bool] | None = None,
) -> list[Path]:
    """Write `config.json` and the weights (all, or those for which `names` is true) and return the files written.

    Tensors keep their dtypes. One file, or shards of at most `max_shard_bytes` with an index; a larger tensor gets its
    own shard.
    """
    tensors = {k: v for k, v in network.state_dict().items() if names is None or names(k)}
    return save_tensors(tensors, network.config, directory, max_shard_bytes)


def save_tensors(
    tensors: Mapping[str, Tensor], config: ModelConfig, directory: Path | str, max_shard_bytes: int = SHARD_BYTES
) -> list[Path]:
    """`save_network` for tensors taken from a network earlier, such as a copy of a network that continues training."""
    from huggingface_hub import split_torch_state_dict_into_shards

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    split = split_torch_state_dict_into_shards(
        dict(tensors), filename_pattern="model{suffix}.safetensors", max_shard_size=max_shard_bytes
    )
    for name, keys in split.filename_to_tensors.items():
        write_tensors(directory / name, {key: tensors[key] for key in keys}, {"format": "pt"})
    files = [directory / name for name in split.filename_to_tensors]
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": dict(sorted(split.tensor_to_filename.items()))}
        (directory / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        files.append(directory / INDEX)
    (directory / "config.json").write_text(json.dumps(config.to_json(), indent=2) + "\n", encoding="utf-8")
    return [*files, directory / "config.json"]
