"""What one optimizer step reads and writes of one tensor."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Row:
    """One tensor of an update; all of the same number of elements.

    Attributes:
        copy: the bf16 copy of the master; None where there is none.
        decay: weight decay.
        step: number of updates so far, float32 [], shared with the optimizer.
    """

    master: Tensor
    gradient: Tensor
    average: Tensor
    squares: Tensor
    copy: Tensor | None
    decay: float
    step: Tensor
