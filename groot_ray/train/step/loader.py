"""Prepares micro-batches ahead of time in a few threads, in the loop's order.

The content of a micro-batch depends only on its step and number, so the number of threads changes nothing but the
waiting time. Decoding, resizing and tokenizing release Python's lock, so threads suffice and nothing is copied between
processes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


@dataclass
class MicroBatch:
    """The input of one forward pass, B samples.

    Attributes:
        inputs: the batch collated by the processor.
        draws: the random inputs of the loss, each [B, ...], such as noise float32 [B, H, D] and time float32 [B].
        mask_sum: sum of the action mask.
        samples: B.
    """

    inputs: dict[str, Any]
    draws: dict[str, torch.Tensor]
    mask_sum: float
    samples: int


class Loader(Generic[T]):
    """Returns the micro-batches of each step in order, and measures how long the loop waits for them.

    `make(step, micro)` creates one. Without threads it is called when the loop asks.
    """

    def __init__(self, make: Callable[[int, int], T], first: int, end: int, accumulation: int, threads: int) -> None:
        self._make = make
        self._places = ((step, micro) for step in range(first, end) for micro in range(accumulation))
        self._accumulation = accumulation
        self._threads = ThreadPoolExecutor(threads, "loader") if threads else None
        self._ahead: deque[Future[T]] = deque()
        self._depth = accumulation + 2 * threads
        self.waited = 0.0
        self._fill()

    def next_step(self) -> list[T]:
        """The micro-batches of the next step; raises the error of one that failed."""
        begun = time.perf_counter()
        batches = [self._next() for _ in range(self._accumulation)]
        self.waited += time.perf_counter() - begun
        return batches

    def close(self) -> None:
        """Drop prepared micro-batches and stop the threads."""
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
        self._ahead.clear()

    def __enter__(self) -> Loader[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next(self) -> T:
        if self._threads is None:
            return self._make(*next(self._places))
        batch = self._ahead.popleft().result()
        self._fill()
        return batch

    def _fill(self) -> None:
        while self._threads is not None and len(self._ahead) < self._depth:
            place = next(self._places, None)
            if place is None:
                return
            self._ahead.append(self._threads.submit(self._make, *place))
