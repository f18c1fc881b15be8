"""What the loop needs of its fellow workers: sums, decisions of the first worker, and nothing else.

The loop is written against `Collective`; Ray, torchrun or a single process stand behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from groot_ray.errors import GrootRayError

if TYPE_CHECKING:
    import torch


Result = TypeVar("Result")


class Collective(Protocol):
    """The workers of a run, which all call the same methods in the same order."""

    rank: int
    world_size: int
    group: Any  # torch's process group for gradients; None for the default one

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum of `values` over all workers, in place; the tensor is on the device that training runs on."""
        ...

    def decide(self, choice: Any) -> Any:
        """The first worker's `choice` (small and picklable), for all workers."""
        ...


class Alone:
    """One worker."""

    rank = 0
    world_size = 1
    group = None

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        return values

    def decide(self, choice: Any) -> Any:
        return choice


class TorchWorkers:
    """The workers of torch.distributed's default process group, which must be gloo's.

    Decisions go through it, over the CPU. Tensors and gradients go through `group`: one of nccl's where training runs on GPUs.
    """

    def __init__(self, device: torch.device) -> None:
        import torch.distributed as dist

        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()
        self.group = dist.new_group(backend="nccl") if device.type == "cuda" else None

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        import torch.distributed as dist

        dist.all_reduce(values, group=self.group)
        return values

    def decide(self, choice: Any) -> Any:
        import torch.distributed as dist

        box = [choice]
        dist.broadcast_object_list(box, src=0)
        return box[0]


def first_does(collective: Collective, action: Callable[[], Result]) -> Result:
    """What the first worker's `action` returns, for all workers; an error of it is raised by all, so that none waits for the others."""
    outcome: tuple[Result | None, GrootRayError | None] = (None, None)
    if collective.rank == 0:
        try:
            outcome = action(), None
        except GrootRayError as error:
            outcome = None, type(error)(str(error))
    result, error = collective.decide(outcome)
    if error is not None:
        raise error
    return result


def current_workers(device: torch.device) -> Collective:
    """The collective of this process: that of torch.distributed where it runs with several workers, else one worker alone."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return TorchWorkers(device)
    return Alone()
