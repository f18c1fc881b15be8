"""Data parallelism, put around the plain model from outside."""

from __future__ import annotations

import inspect
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from groot_ray.train.step.collective import Collective

BUCKET_MB = 100


def wrap(model: torch.nn.Module, collective: Collective, unused_parameters: bool) -> torch.nn.Module:
    """The model itself for one worker; else one whose gradients are averaged over the workers in the backward pass.

    Args:
        model: the plain model, on its device, with what is frozen frozen.
        unused_parameters: some trainable parameters take no part in the forward pass (the pooling head of the vision tower, the
            language model's output layer) and have to be looked for in each step.
    """
    if collective.world_size == 1:
        return model
    from torch.nn.parallel import DistributedDataParallel

    # Buffers are constants, equal everywhere; torch 2.13 has another name for the option.
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    return DistributedDataParallel(
        model,
        process_group=collective.group,
        bucket_cap_mb=BUCKET_MB,
        find_unused_parameters=unused_parameters,
        gradient_as_bucket_view=True,
        **{buffers: False},
    )


def gradients_stay_here(model: torch.nn.Module) -> AbstractContextManager[None]:
    """A context in which backward passes add to the gradients without averaging: for all micro-batches but a step's last."""
    no_sync = getattr(model, "no_sync", None)
    return no_sync() if no_sync is not None else nullcontext()
