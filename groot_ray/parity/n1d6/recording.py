"""Recorded inputs of GR00T N1.6 as a batch, and its network without randomness."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from groot_ray.model.family import ModelFamily
from groot_ray.model.shared.network import PolicyNetwork
from groot_ray.model.shared.trainable import apply_tune_flags
from groot_ray.model.shared.tune import TuneFlags
from groot_ray.parity.n1d6.recorder import Recorder
from groot_ray.parity.recording import NetworkRecording

_INPUTS = ("input_ids", "attention_mask", "state", "action", "action_mask", "embodiment_id")
_CAST = ("state", "action", "action_mask")  # the reference casts these and the images to the model's first dtype
_OF_TOKENS = re.compile(r"(llm_layer\d+|vlln_out|backbone_features)")


class Recording(NetworkRecording):
    """See `NetworkRecording`."""

    own_keys = frozenset({"eagle_overrides"})

    def __init__(self, family: ModelFamily, folder: Path) -> None:
        super().__init__(family, folder)
        self.config: Any = family.read_config(folder)
        count = sum(bool(re.fullmatch(r"pixel_values_\d+", name)) for name in self.inputs)
        self.pixels = [self.tensor(f"pixel_values_{index}") for index in range(count)]
        self.flags = TuneFlags(**{name: getattr(self.config, name) for name in TuneFlags.__dataclass_fields__})

    def network(self) -> PolicyNetwork:
        """The network with the recorded weights in float32, set up to be finetuned, without randomness."""
        network: Any = self.family.build_network(self.config)
        for module in network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if self.config.state_dropout_prob < 1:
            network.action_head.state_dropout_prob = 0.0
        network.action_head.state_noise_scale = 0.0
        network.load_state_dict({k: v.float() for k, v in (self.tensors("model.safetensors") or {}).items()})
        apply_tune_flags(network, self.flags)
        made: PolicyNetwork = network
        return made

    def batch(self, dtype: torch.dtype | None = None) -> dict[str, Any]:
        """The recorded inputs as a batch; with `dtype` images, state, action and mask are cast."""
        batch: dict[str, Any] = {name: self.tensor(name) for name in _INPUTS if name in self.inputs}
        if dtype is None:
            return {**batch, "pixel_values": self.pixels}
        cast = {name: value.to(dtype) if name in _CAST else value for name, value in batch.items()}
        return {**cast, "pixel_values": [image.to(dtype) for image in self.pixels]}

    def record(self, network: PolicyNetwork) -> Recorder:
        """Collect the activations of passes made while the context is open."""
        return Recorder(network, [(group.shape[-2], group.shape[-1]) for group in self.pixels for _ in group])

    def is_of_tokens(self, name: str) -> bool:
        """Whether a recorded activation is over the prompt's tokens."""
        return _OF_TOKENS.fullmatch(name) is not None
