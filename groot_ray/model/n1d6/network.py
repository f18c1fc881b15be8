"""GR00T N1.6 as one module: an Eagle backbone and a flow-matching action head.

The language model's output layer is stored but never evaluated.
"""

from __future__ import annotations

import logging
from itertools import takewhile

import torch
from torch import Tensor, nn

from groot_ray.model.n1d6.action_head import StateDropoutHead
from groot_ray.model.n1d6.backbone import Backbone
from groot_ray.model.n1d6.config import Gr00tConfig
from groot_ray.model.shared.flow import FlowNoise
from groot_ray.model.shared.flow_matching import Encoded, FlowMatchingNetwork
from groot_ray.model.shared.network import Batch, Region
from groot_ray.model.shared.tune import NamedPart

log = logging.getLogger(__name__)

_EAGLE, _HEAD = "backbone.model", "action_head"
PARTS = (
    NamedPart("vision tower", (f"{_EAGLE}.vision_model",), "tune_visual"),
    NamedPart("vision-language connector", (f"{_EAGLE}.mlp1",), "tune_visual"),
    NamedPart("language model", (f"{_EAGLE}.language_model",), "tune_llm"),
    NamedPart("state encoder", (f"{_HEAD}.state_encoder",), "tune_projector"),
    NamedPart("action encoder", (f"{_HEAD}.action_encoder",), "tune_projector"),
    NamedPart("action decoder", (f"{_HEAD}.action_decoder",), "tune_projector"),
    NamedPart(
        "action positions and mask token", (f"{_HEAD}.position_embedding", f"{_HEAD}.mask_token"), "tune_projector"
    ),
    NamedPart("layer norm of the features (vlln)", (f"{_HEAD}.vlln",), "tune_vlln"),
    NamedPart("diffusion transformer", (f"{_HEAD}.model",), "tune_diffusion_model"),
)
MASK_TOKEN = f"{_HEAD}.mask_token"


class Gr00tN1d6(FlowMatchingNetwork):
    """The complete model. In addition to the entries of `FlowMatchingNetwork`, a batch has ``pixel_values`` in [-1, 1]:
    float [N, 3, H, W] over all images of all samples, or a list of [n, 3, H, W] where their sizes differ.
    """

    parts = PARTS
    config: Gr00tConfig
    action_head: StateDropoutHead

    def __init__(self, config: Gr00tConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.action_head = StateDropoutHead(config)
        self.image_token = config.image_token
        self.time_buckets = config.num_timestep_buckets

    @property
    def flow(self) -> FlowNoise:
        """Distribution of noise and time."""
        return self.config.loss_inputs

    @property
    def language_layers(self) -> nn.ModuleList:
        """The kept layers of the language model."""
        return self.backbone.model.language_model.model.layers

    def encode(self, batch: Batch) -> Encoded:
        """Run the backbone."""
        mask = batch["attention_mask"].bool()
        features, image_mask = self.backbone(batch["input_ids"], mask, batch["pixel_values"], self.layout(batch))
        return Encoded(features, mask, image_mask)

    def regions(self) -> tuple[Region, ...]:
        """Vision, the frozen lower language layers, and all that trains; one region if the vision tower trains."""
        eagle, decoder = self.backbone.model, self.backbone.model.language_model.model
        if _trains(eagle.vision_model) or _trains(eagle.mlp1):
            return super().regions()
        frozen = 0 if _trains(decoder.embed_tokens) else len(list(takewhile(_frozen, decoder.layers)))

        def see(batch: Batch, draws: dict[str, Tensor], before: Tensor | None) -> Tensor:
            return self.backbone.image_tokens(batch["pixel_values"])

        def read(batch: Batch, draws: dict[str, Tensor], before: Tensor | None) -> Tensor:
            assert before is not None
            layout = self.layout(batch)
            hidden, _ = self.backbone.embed(batch["input_ids"], before, layout)
            mask = batch["attention_mask"].bool() if layout.padded else None
            return decoder.run(hidden, mask, 0, frozen)

        def act(batch: Batch, draws: dict[str, Tensor], before: Tensor | None) -> Tensor:
            assert before is not None
            mask = batch["attention_mask"].bool()
            hidden = decoder.run(before, mask if self.layout(batch).padded else None, frozen, len(decoder.layers))
            encoded = Encoded(decoder.norm(hidden), mask, batch["input_ids"] == self.image_token)
            return self(batch, encoded=encoded, **draws)["loss_sum"]

        if _trains(decoder.embed_tokens):
            return (
                Region("vision", see, trains=False),
                Region("language and action head", lambda b, d, x: act(b, d, read(b, d, x)), trains=True),
            )
        return (
            Region("vision", see, trains=False),
            Region(f"language layers 0 to {frozen - 1}", read, trains=False),
            Region("language layers that train, action head", act, trains=True),
        )

    def dtype_of(self, name: str, parameter: nn.Parameter) -> torch.dtype:
        """NVIDIA's finetuning keeps the frozen part of the backbone in bf16 and everything else in float32."""
        frozen_backbone = name.startswith("backbone.") and not parameter.requires_grad
        return torch.bfloat16 if frozen_backbone else torch.float32

    def ignores(self, name: str) -> bool:
        """A run with state dropout stored a mask token; without dropout there is none."""
        if name != MASK_TOKEN:
            return False
        log.info("the checkpoint has a mask token, which is left out: there is no state dropout here")
        return True

    def fresh(self, name: str) -> Tensor | None:
        """State dropout can start from a checkpoint without a mask token, which is then drawn from a fixed seed."""
        if name != MASK_TOKEN:
            return None
        log.info("the checkpoint has no mask token; state dropout begins with a fresh one")
        shape = self.get_parameter(name).shape
        return 0.02 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _trains(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _frozen(module: nn.Module) -> bool:
    return not _trains(module)
