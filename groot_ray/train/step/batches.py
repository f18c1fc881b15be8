"""Micro-batches for the loop: prepared by threads, and copied to the device while the previous one computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from groot_ray.train.step.device import Feed
from groot_ray.train.step.loader import Loader, MicroBatch


class Prefetched:
    """Micro-batches of the steps [first, end); `make(step, micro)` creates one."""

    def __init__(
        self, make: Callable[[int, int], MicroBatch], feed: Feed, first: int, end: int, accumulation: int, threads: int
    ) -> None:
        def send(step: int, micro: int) -> tuple[MicroBatch, Any]:
            return feed.send(make(step, micro))

        self._feed = feed
        self._loader = Loader(send, first, end, accumulation, threads)

    @property
    def waited(self) -> float:
        """Seconds that the loop has waited for micro-batches so far."""
        return self._loader.waited

    def next_step(self) -> list[MicroBatch]:
        """The micro-batches of the next step, on the device."""
        return [self._feed.receive(sent) for sent in self._loader.next_step()]

    def close(self) -> None:
        """Stop the threads."""
        self._loader.close()
