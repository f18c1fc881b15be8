"""A network's twin, which computes with bf16 copies of its matmul weights and with one embodiment's slice.

Autocast casts each float32 weight of a product to bf16 at every step, and casts the gradient, which it computes in
bf16, back. The twin holds the cast weights, so the numbers are the same and the casts are left out. Only the slice of
the embodiment that the run uses trains: the others have no gradient. The network itself keeps the float32 masters.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from groot_ray.model.shared.action_head import CategoryLinear
from groot_ray.model.shared.network import PolicyNetwork

Network = TypeVar("Network", bound=PolicyNetwork)


@dataclass(frozen=True)
class Trained:
    """A tensor that trains.

    Attributes:
        name: the parameter's name in the network.
        embodiment: the slice of the parameter; None for all of it.
        master: the network's float32 values, contiguous; [1, ...] for a slice.
        used: the twin's parameter of the same shape: a bf16 copy, or the master's own memory.
    """

    name: str
    embodiment: int | None
    master: Tensor
    used: nn.Parameter

    @property
    def copied(self) -> bool:
        """Whether `used` is a copy, to be refreshed after each change of the master."""
        return self.used.data_ptr() != self.master.data_ptr()

    def part(self, tensor: Tensor) -> Tensor:
        """The slice of a tensor that has the parameter's shape, such as a moment of AdamW."""
        return slice_of(tensor, self.embodiment)


def slice_of(tensor: Tensor, embodiment: int | None) -> Tensor:
    """The values [E, ...] of one embodiment as a view [1, ...]; the tensor itself without an embodiment."""
    return tensor if embodiment is None else tensor[embodiment : embodiment + 1]


def make_twin(network: Network, embodiment: int | None, half: bool) -> tuple[Network, list[Trained]]:
    """The twin, and what trains in the network's order.

    The twin shares the network's other tensors. With an embodiment, it knows this one only, under the number 0.

    Args:
        embodiment: the only embodiment of the run's batches; None if there are several, all of which then train.
        half: hold the matmul weights in bf16, as autocast would cast them.
    """
    products, sliced = _weights(network)
    # Replaced tensors are entered as already copied, so that deepcopy puts them in the originals' places.
    memo: dict[int, Any] = {id(buffer): buffer for buffer in network.buffers()}
    memo[id(getattr(network, "config", None))] = getattr(network, "config", None)
    trained = []
    for name, parameter in network.named_parameters():
        own = embodiment if id(parameter) in sliced else None
        master = slice_of(parameter.detach(), own)
        half_here = half and id(parameter) in products and parameter.dtype == torch.float32
        if not parameter.requires_grad and own is None and not half_here:
            memo[id(parameter)] = parameter
            continue
        value = master.to(torch.bfloat16) if half_here else master
        memo[id(parameter)] = nn.Parameter(value, requires_grad=parameter.requires_grad)
        if parameter.requires_grad:
            trained.append(Trained(name, own, master, memo[id(parameter)]))
    return copy.deepcopy(network, memo), trained


def _weights(network: nn.Module) -> tuple[set[int], set[int]]:
    """Ids of the parameters that autocast casts (weights of products), and of those with a slice per embodiment."""
    products: set[int] = set()
    sliced: set[int] = set()
    for module in network.modules():
        if isinstance(module, nn.Linear):
            products.update(id(parameter) for parameter in module.parameters(recurse=False))
        elif isinstance(module, CategoryLinear):
            products.add(id(module.W))
            sliced.update((id(module.W), id(module.b)))
    return products, sliced
