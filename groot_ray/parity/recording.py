"""A folder of recorded network inputs and outputs, as a model family reads it; the comparison itself is `network`'s.

A family's package ``parity/<name>/`` has ``recording.Recording`` (a `NetworkRecording`) and ``prompt.prompt_checks``;
its line goes into `families`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from groot_ray.model.family import ModelFamily
from groot_ray.model.shared.network import PolicyNetwork
from groot_ray.parity.families import family_module

Arrays = dict[str, np.ndarray]


class Activations(Protocol):
    """The outputs of a network's parts in a pass that was recorded."""

    def activation(self, name: str) -> np.ndarray | None:
        """The activation of a recorded name, or None for an unknown one."""
        ...


class NetworkRecording(ABC):
    """A folder ``model/`` of recorded inputs and outputs: ``config.json``, ``inputs.npz``, ``model.safetensors`` and
    results.

    Attributes:
        own_keys: keys of config.json that only this implementation writes.
    """

    own_keys: frozenset[str] = frozenset()

    def __init__(self, family: ModelFamily, folder: Path) -> None:
        self.family = family
        self.folder = folder
        self.inputs = self.arrays("inputs.npz") or {}

    def arrays(self, name: str) -> Arrays | None:
        """The arrays of an npz file, or None where there is none."""
        file = self.folder / name
        if not file.is_file():
            return None
        with np.load(file, allow_pickle=False) as opened:
            return {key: opened[key] for key in opened.files}

    def tensors(self, name: str) -> dict[str, torch.Tensor] | None:
        """The tensors of a safetensors file, or None where there is none."""
        from safetensors.torch import load_file

        file = self.folder / name
        return load_file(file) if file.is_file() else None

    def tensor(self, name: str) -> torch.Tensor:
        """A recorded input."""
        return torch.from_numpy(self.inputs[name])

    @property
    def valid(self) -> np.ndarray:
        """Tokens that are not padding, bool [B, L]; the values at padded positions are arbitrary."""
        return self.inputs["attention_mask"].astype(bool)

    def draws(self, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        """The recorded noise [B, H, D] and time [B] of the loss."""
        return {"noise": self.tensor("noise").to(dtype), "time": self.tensor("t").to(dtype)}

    @abstractmethod
    def network(self) -> PolicyNetwork:
        """The network with the recorded weights in float32, set up to be finetuned, without randomness."""

    @abstractmethod
    def batch(self, dtype: torch.dtype | None = None) -> dict[str, Any]:
        """The recorded inputs as a batch; with `dtype` those that the reference casts are cast."""

    @abstractmethod
    def record(self, network: PolicyNetwork) -> AbstractContextManager[Activations]:
        """Collect the activations of passes made while the context is open."""

    @abstractmethod
    def is_of_tokens(self, name: str) -> bool:
        """Whether a recorded activation is [B, L, ...] over the prompt's tokens, padding included."""


def network_recording(family: ModelFamily, folder: Path) -> NetworkRecording:
    """The recording of a family.

    Raises:
        ConfigurationError: the family has none.
    """
    made: NetworkRecording = family_module(family, "recording").Recording(family, folder)
    return made
