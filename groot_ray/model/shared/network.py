"""The base of every family's network: one torch module with a loss, a prediction, named parts and frozen modules."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from groot_ray.model.shared.tune import NamedPart

if TYPE_CHECKING:
    from groot_ray.model.shared.protocols import ModelConfig

Batch = dict[str, Any]


class Region(NamedTuple):
    """A piece of the loss's forward pass that can be compiled and captured by itself.

    Attributes:
        name: for people, such as ``vision``.
        run: called as ``run(batch, draws, before)`` with the result of the region before it (None for the first);
            returns a tensor, the last region ``loss_sum``.
        trains: gradients pass through it. Regions that train follow those that do not.
    """

    name: str
    run: Callable[[Batch, dict[str, Tensor], Tensor | None], Tensor]
    trains: bool


class PolicyNetwork(nn.Module):
    """Base of the families' networks. It knows nothing about Ray, parallelism or the source of batches.

    Attributes:
        config: the checkpoint's configuration.
        parts: every parameter belongs to exactly one part.
        no_decay: regular expression; parameters whose lower-case name matches it get no weight decay, like those of
            layer norms.
        frozen: dotted names of modules that stay in evaluation mode, set by `apply_tune_flags`.
    """

    config: ModelConfig
    parts: tuple[NamedPart, ...] = ()
    no_decay: re.Pattern[str] = re.compile("bias|layernorm|rmsnorm")
    frozen: tuple[str, ...] = ()

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation mode; frozen modules stay in evaluation mode, so that their
        dropout is off.
        """
        super().train(mode)
        for name in self.frozen:
            self.get_submodule(name).eval()
        return self

    @property
    def language_layers(self) -> nn.ModuleList:
        """The layers that `tune_top_llm_layers` counts, first to last; empty for a network without a language model."""
        return nn.ModuleList()

    def regions(self) -> tuple[Region, ...]:
        """The loss's forward pass in pieces, in order, as what trains divides it; one piece unless the family says
        otherwise.
        """
        return (Region("network", lambda batch, draws, before: self(batch, **draws)["loss_sum"], trains=True),)

    @abstractmethod
    def forward(self, batch: Batch, **draws: Any) -> dict[str, Tensor]:
        """The loss of a batch that the family's processor collated.

        Args:
            draws: the stacked values of `LossInputs.draw`, by name, each [B, ...].

        Returns:
            ``loss_sum`` float [], the summed loss of the batch's valid elements, and ``mask_sum`` float [], their
            number. The trainer divides by the number in the global batch. Other entries are for people.
        """

    @abstractmethod
    def predict(
        self,
        batch: Batch,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        steps: int | None = None,
    ) -> Tensor:
        """Normalized actions [B, action_horizon, action_dim].

        Args:
            noise: float [B, action_horizon, action_dim] from N(0, 1), drawn with `generator` when not given.
            steps: integration steps; the configuration's `denoising_steps` when not given.
        """

    def dtype_of(self, name: str, parameter: nn.Parameter) -> torch.dtype:
        """A parameter's dtype under the ``reference`` policy; float32 unless the family says otherwise."""
        return torch.float32

    def ignores(self, name: str) -> bool:
        """Whether a stored tensor that the network lacks may be left out when a checkpoint is loaded; the family logs
        why.
        """
        return False

    def fresh(self, name: str) -> Tensor | None:
        """Float32 values for a parameter that a checkpoint lacks.

        None if the family requires stored ones.
        """
        return None
