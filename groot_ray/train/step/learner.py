"""What a worker trains: the network, wrapped for parallelism, and its optimizer."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from groot_ray.train.step.device import Precision
from groot_ray.train.step.loader import MicroBatch
from groot_ray.train.step.optimizer import build_adamw
from groot_ray.train.step.parallel import Parallelism, TrainingTensors


@dataclass
class Learner:
    """A network in training; created by `build`.

    Attributes:
        network: the plain network, with the names that checkpoints use.
        model: the module to call for a forward pass.
    """

    network: nn.Module
    model: nn.Module
    optimizer: torch.optim.Optimizer
    parallelism: Parallelism

    @classmethod
    def build(
        cls,
        network: nn.Module,
        parallelism: Parallelism,
        learning_rate: float,
        weight_decay: float,
        unused_parameters: bool,
    ) -> Learner:
        """Wrap the network, then create the optimizer; see `Parallelism.wrap` for `unused_parameters`."""
        model = parallelism.wrap(network, unused_parameters)
        return cls(network, model, build_adamw(network, learning_rate, weight_decay), parallelism)

    @property
    def trained(self) -> list[str]:
        """Names of the parameters that train, in the network's order."""
        return [name for name, parameter in self.network.named_parameters() if parameter.requires_grad]

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters that train, in the optimizer's order."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    @property
    def flops(self) -> float | None:
        """Floating-point operations per sample of forward and backward pass; None if they were not counted."""
        return None

    def accumulate(self, batch: MicroBatch, scale: Tensor, precision: Precision, last: bool) -> Tensor:
        """Add a micro-batch's gradients, times `scale` float32 []; returns its summed loss, float64 [].

        The `last` micro-batch of a step sums the gradients over the workers.
        """
        with nullcontext() if last else self.parallelism.no_sync(self.model):
            with precision.forward():
                result = self.model(batch.inputs, **batch.draws)
            (result["loss_sum"] * scale).backward()
        loss: Tensor = result["loss_sum"]
        return loss.detach().double()

    def update(self, rate: float, max_norm: float) -> Tensor:
        """Clip the gradients and take an optimizer step at the learning rate `rate`; returns the unclipped norm, float
        [].
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        norm = self.parallelism.clip_gradients(self.parameters, max_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def snapshot(self) -> TrainingTensors | None:
        """See `Parallelism.snapshot`; collective."""
        return self.parallelism.snapshot(self.network, self.optimizer)

    def load(self, tensors: TrainingTensors) -> None:
        """See `Parallelism.load`; collective."""
        self.parallelism.load(self.network, self.optimizer, tensors)
