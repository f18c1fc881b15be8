"""Parallelism, applied to the plain network from outside. DDP and a sharding scheme (FSDP2) differ only in this file.

The order is: build the network, wrap it, create the optimizer, load. Sharding replaces the network's parameters, so
an optimizer created or tensors loaded earlier would belong to parameters that no longer train.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor, nn

from groot_ray.train.step.device import copier
from groot_ray.train.step.optimizer_state import load_optimizer_tensors, optimizer_tensors

if TYPE_CHECKING:
    from torch.nn.parallel import DistributedDataParallel

    from groot_ray.train.step.collective import Collective

BUCKET_MB = 100


@dataclass(frozen=True)
class TrainingTensors:
    """Weights and optimizer state under the plain network's names; every tensor is unsharded, whatever the parallelism.

    Attributes:
        weights: by name; a snapshot has all weights, `Parallelism.load` needs only those that train.
        trained: names of the weights that train.
        optimizer: by ``<kind>.<parameter>``, see `optimizer_state`.
    """

    weights: Mapping[str, Tensor]
    trained: frozenset[str]
    optimizer: Mapping[str, Tensor]


class Parallelism(Protocol):
    """How weights, gradients and optimizer state are spread over the workers.

    Every method is collective: all workers call it, in the same order. `network` is the plain network, which keeps its
    names; `model` is what `wrap` returned.
    """

    def wrap(self, network: nn.Module, unused_parameters: bool) -> nn.Module:
        """Return the module to call for a forward pass; its backward pass averages the gradients over the workers.

        Args:
            network: on its device, frozen where it does not train. Its parameters may be replaced (FSDP2: by DTensors).
            unused_parameters: some trainable parameters do not take part in the forward pass (the pooling head of the
                vision tower, the language model's output layer) and have to be looked for in each step.
        """
        ...

    def no_sync(self, model: nn.Module) -> AbstractContextManager[None]:
        """A context in which backward passes only accumulate, for all micro-batches but a step's last."""
        ...

    def clip_gradients(self, parameters: Sequence[nn.Parameter], max_norm: float) -> Tensor:
        """Scale the gradients down to a total norm of `max_norm`; returns the complete model's norm before clipping,
        float [].
        """
        ...

    def snapshot(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingTensors | None:
        """Copy what trains; returns the copy on the first worker and None on the others, which contribute their shards.

        Frozen weights are not copied, since nothing changes them. Training may continue when this returns.
        """
        ...

    def load(self, network: nn.Module, optimizer: torch.optim.Optimizer, tensors: TrainingTensors) -> None:
        """Load weights and optimizer state, cast and distributed as in the network and the optimizer.

        Raises:
            DataError: the optimizer state belongs to parameters that do not train now.
        """
        ...


class Single:
    """A single worker, with the plain network."""

    def wrap(self, network: nn.Module, unused_parameters: bool) -> nn.Module:
        """Return the network itself."""
        return network

    def no_sync(self, model: nn.Module) -> AbstractContextManager[None]:
        """A null context: there is no communication."""
        return nullcontext()

    def clip_gradients(self, parameters: Sequence[nn.Parameter], max_norm: float) -> Tensor:
        """See `Parallelism`."""
        return nn.utils.clip_grad_norm_(parameters, max_norm)

    def snapshot(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingTensors | None:
        """See `Parallelism`. On a GPU with enough memory the copies stay there, which takes milliseconds."""
        trained = {name: value for name, value in network.named_parameters() if value.requires_grad}
        moments = optimizer_tensors(network, optimizer)
        copied = copier([*trained.values(), *moments.values()])
        weights = network.state_dict()
        return TrainingTensors(
            {name: copied(value) if name in trained else value.detach() for name, value in weights.items()},
            frozenset(trained),
            {name: copied(value) for name, value in moments.items()},
        )

    def load(self, network: nn.Module, optimizer: torch.optim.Optimizer, tensors: TrainingTensors) -> None:
        """See `Parallelism`."""
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name in tensors.trained:
                    parameter.copy_(tensors.weights[name])
        load_optimizer_tensors(network, optimizer, tensors.optimizer)


class DDP(Single):
    """Data parallelism: each worker has the complete network, and all load the same tensors.

    Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training" (2020).
    """

    def __init__(self, collective: Collective) -> None:
        self._collective = collective

    def wrap(self, network: nn.Module, unused_parameters: bool) -> nn.Module:
        """Wrap the network in torch's DistributedDataParallel."""
        from torch.nn.parallel import DistributedDataParallel

        # Buffers are constants, equal on all workers; torch 2.13 renames the option.
        known = inspect.signature(DistributedDataParallel.__init__).parameters
        buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        options: dict[str, Any] = {buffers: False}
        return DistributedDataParallel(
            network,
            process_group=self._collective.group,
            bucket_cap_mb=BUCKET_MB,
            find_unused_parameters=unused_parameters,
            gradient_as_bucket_view=True,
            **options,
        )

    def no_sync(self, model: nn.Module) -> AbstractContextManager[None]:
        """See `Parallelism`."""
        return cast("DistributedDataParallel", model).no_sync()

    def snapshot(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingTensors | None:
        """See `Parallelism`; all workers hold the same tensors, so nothing is gathered."""
        return super().snapshot(network, optimizer) if self._collective.rank == 0 else None


def choose_parallelism(collective: Collective) -> Parallelism:
    """DDP for several workers, else `Single`."""
    return Single() if collective.world_size == 1 else DDP(collective)
