"""Micro-batches made ahead of time by a few threads, in the order in which the loop wants them.

What a micro-batch holds follows from its place (step, number) alone, so that the number of threads changes nothing but the waiting.
Decoding, resizing and tokenizing leave Python's lock, which is why threads are enough and nothing is copied between processes.
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
    """What one forward pass takes: the model's `inputs`, noise float32 [B, H, D], time float32 [B], and the sum of the action mask."""

    inputs: dict[str, Any]
    noise: torch.Tensor
    time: torch.Tensor
    mask_sum: float
    samples: int


class Loader(Generic[T]):
    """Gives the micro-batches of step after step, and takes the time that the loop had to wait for them.

    `make(step, micro)` makes one; with no threads it is called when the loop asks.
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
        """The micro-batches of the next step; raises what making them raised."""
        begun = time.perf_counter()
        batches = [self._next() for _ in range(self._accumulation)]
        self.waited += time.perf_counter() - begun
        return batches

    def close(self) -> None:
        """Drop what was made ahead and end the threads."""
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
