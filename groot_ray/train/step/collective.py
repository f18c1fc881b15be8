"""What the loop needs from other workers: sums, and decisions of the first worker.

The loop uses only `Collective`, which works under Ray, torchrun or in a single process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from groot_ray.errors import GrootRayError

if TYPE_CHECKING:
    import torch


Result = TypeVar("Result")


class Collective(Protocol):
    """The workers of a run. All workers call the same methods in the same order."""

    rank: int
    world_size: int
    group: Any  # torch's process group for gradients; None for the default one

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum `values`, of any shape and on the training device, over all workers, in place."""
        ...

    def decide(self, choice: Any) -> Any:
        """Return the first worker's `choice` (small, picklable) on all workers."""
        ...


class Alone:
    """One worker."""

    rank = 0
    world_size = 1
    group = None

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """See `Collective`."""
        return values

    def decide(self, choice: Any) -> Any:
        """See `Collective`."""
        return choice


class TorchWorkers:
    """The workers of torch.distributed's default process group, which must use gloo.

    Decisions go through it, over the CPU. Tensors and gradients go through `group`, an nccl group if training runs on
    GPUs.
    """

    def __init__(self, device: torch.device) -> None:
        import torch.distributed as dist

        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()
        self.group = dist.new_group(backend="nccl") if device.type == "cuda" else None

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """See `Collective`."""
        import torch.distributed as dist

        dist.all_reduce(values, group=self.group)
        return values

    def decide(self, choice: Any) -> Any:
        """See `Collective`."""
        import torch.distributed as dist

        box = [choice]
        dist.broadcast_object_list(box, src=0)
        return box[0]


def first_does(collective: Collective, action: Callable[[], Result]) -> Result:
    """Run `action` on the first worker; all return its result or raise its error, so that no worker hangs."""
    outcome: tuple[Result | None, GrootRayError | None] = (None, None)
    if collective.rank == 0:
        try:
            outcome = action(), None
        except GrootRayError as error:
            outcome = None, type(error)(str(error))
    result, failure = collective.decide(outcome)
    if failure is not None:
        raise failure
    return cast(Result, result)


def current_workers(device: torch.device) -> Collective:
    """The collective of this process: torch.distributed's if it has several workers, else a single worker."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return TorchWorkers(device)
    return Alone()
