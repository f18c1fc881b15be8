"""The Triton kernel of `adamw`: one program for each 512 elements of any tensor in a table of addresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

from groot_ray.train.step.optimizer import BETAS, EPS

if TYPE_CHECKING:
    from groot_ray.train.step.fast.rows import Row

BLOCK, WARPS = 512, 4  # the fastest on an H200: 9.3 ms for 1.3 B parameters; few large persistent programs are slower
ALIGNED = 16  # bytes


@triton.jit
def _step(
    table,
    chunks,
    bias,
    scalars,
    B1: tl.constexpr,
    B2: tl.constexpr,
    EPSILON: tl.constexpr,
    HALF_GRADIENT: tl.constexpr,
    COPY: tl.constexpr,
    BLOCK: tl.constexpr,
):
    # table int64 [n, 6]: addresses of master, gradient, average, squares, copy; number of elements.
    # chunks int32 [programs, 2]: row and block. bias float32 [n, 3]: corrections, decay. scalars: rate, clip.
    program = tl.program_id(0).to(tl.int64)
    row = tl.load(chunks + program * 2)
    offsets = tl.load(chunks + program * 2 + 1).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    entry = table + row.to(tl.int64) * 6
    mask = offsets < tl.load(entry + 5)
    master = tl.multiple_of(tl.load(entry).to(tl.pointer_type(tl.float32)), 16)
    average = tl.multiple_of(tl.load(entry + 2).to(tl.pointer_type(tl.float32)), 16)
    squares = tl.multiple_of(tl.load(entry + 3).to(tl.pointer_type(tl.float32)), 16)
    if HALF_GRADIENT:
        gradient = tl.multiple_of(tl.load(entry + 1).to(tl.pointer_type(tl.bfloat16)), 16)
    else:
        gradient = tl.multiple_of(tl.load(entry + 1).to(tl.pointer_type(tl.float32)), 16)
    rate = tl.load(scalars)
    first = tl.load(bias + row * 3)
    second = tl.load(bias + row * 3 + 1)
    decay = tl.load(bias + row * 3 + 2)
    g = tl.load(gradient + offsets, mask=mask, other=0.0).to(tl.float32) * tl.load(scalars + 1)
    m = tl.load(average + offsets, mask=mask, other=0.0)
    v = tl.load(squares + offsets, mask=mask, other=0.0)
    p = tl.load(master + offsets, mask=mask, other=0.0)
    p = p - p * (rate * decay)
    m = m + (1.0 - B1) * (g - m)
    v = B2 * v + (1.0 - B2) * g * g
    p = p - (rate / first) * m / (tl.sqrt(v) / second + EPSILON)
    tl.store(average + offsets, m, mask=mask)
    tl.store(squares + offsets, v, mask=mask)
    tl.store(master + offsets, p, mask=mask)
    if COPY:
        copy = tl.multiple_of(tl.load(entry + 4).to(tl.pointer_type(tl.bfloat16)), 16)
        tl.store(copy + offsets, p.to(tl.bfloat16), mask=mask)


class Launch:
    """Launches the kernel over rows, once for each combination of gradient dtype and copy.

    Raises:
        ValueError: a tensor is not contiguous, not aligned to 16 bytes, or has another dtype.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        for row in rows:
            _check(row)
        self._rows = list(rows)
        device = rows[0].master.device
        self._scalars = torch.zeros(2, dtype=torch.float32, device=device)
        kinds = [(row.gradient.dtype == torch.bfloat16, row.copy is not None) for row in rows]
        self._groups = [
            (kind, _Group([row for row, own in zip(rows, kinds, strict=True) if own == kind]))
            for kind in sorted(set(kinds))
        ]

    def __call__(self, rate: float, clip: Tensor) -> None:
        """Update all rows at this learning rate, with gradients times `clip`, float32 []."""
        self._scalars[0].fill_(rate)
        self._scalars[1].copy_(clip)
        for (half, copy), group in self._groups:
            _step[(len(group.chunks),)](
                group.table, group.chunks, group.bias(), self._scalars, *BETAS, EPS, half, copy, BLOCK, num_warps=WARPS
            )


class _Group:
    def __init__(self, rows: Sequence[Row]) -> None:
        device = rows[0].master.device
        self.table = torch.tensor([_addresses(row) for row in rows], dtype=torch.int64, device=device)
        self.chunks = _chunks([row.master.numel() for row in rows]).to(device)
        self._steps = [row.step for row in rows]
        self._decay = torch.tensor([row.decay for row in rows], dtype=torch.float32, device=device)

    def bias(self) -> Tensor:
        """Corrections of both moments after this step, and weight decay, float32 [n, 3]."""
        steps = torch.stack(self._steps).double()
        return torch.stack([1 - BETAS[0] ** steps, (1 - BETAS[1] ** steps).sqrt(), self._decay], dim=1).float()


def _addresses(row: Row) -> list[int]:
    tensors = (row.master, row.gradient, row.average, row.squares, row.copy)
    return [*(0 if tensor is None else tensor.data_ptr() for tensor in tensors), row.master.numel()]


def _chunks(sizes: Sequence[int]) -> Tensor:
    blocks = torch.tensor([-(-size // BLOCK) for size in sizes])
    rows = torch.repeat_interleave(torch.arange(len(sizes)), blocks)
    within = torch.arange(int(blocks.sum())) - torch.repeat_interleave(blocks.cumsum(0) - blocks, blocks)
    return torch.stack([rows, within], dim=1).to(torch.int32)


def _check(row: Row) -> None:
    for tensor in (row.master, row.gradient, row.average, row.squares, row.copy):
        if tensor is None:
            continue
        if not tensor.is_contiguous() or tensor.data_ptr() % ALIGNED or tensor.numel() != row.master.numel():
            raise ValueError("a tensor that trains is not contiguous or not aligned to 16 bytes")
    if any(tensor.dtype != torch.float32 for tensor in (row.master, row.average, row.squares)):
        raise ValueError("weights that train and their moments must be float32")
