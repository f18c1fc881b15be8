"""Counts floating-point operations: those of matrix products and attention, without recomputation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def count_flops(action: Callable[[], Any]) -> int:
    """Operations of the matrix products and attention in an eager `action`; two for each multiply-add."""
    with FlopCounterMode(display=False, custom_mapping=_ATTENTION) as counter:
        action()
    return counter.get_total_flops()


def _forward(query: Any, key: Any, value: Any, *rest: Any, out_shape: Any = None, **named: Any) -> int:
    """Two products per head. Shapes are [B, heads, L, width]; keys may have fewer heads than queries."""
    batch, heads, length, width = query
    return int(2 * batch * heads * length * key[2] * (width + value[3]))


def _backward(gradient: Any, query: Any, key: Any, value: Any, *rest: Any, out_shape: Any = None, **named: Any) -> int:
    return 2 * _forward(query, key, value)


# torch's own counts refuse grouped heads.
_ATTENTION = {
    getattr(torch.ops.aten, f"_scaled_dot_product_{kernel}_attention{suffix}"): count
    for kernel in ("flash", "efficient", "cudnn")
    for suffix, count in (("", _forward), ("_backward", _backward))
}
