"""Which sample is drawn at which position, as a pure function of (seed, draw).

The draws of a run are numbered consecutively: optimizer step `s` with a global batch of `B` samples takes the draws ``s
* B`` to ``s * B + B - 1``. The samples of all episodes are numbered consecutively too, and each pass over them has its
own permutation. The global batch is cut from that order first and then divided among workers and micro-batches, so
that neither changes which samples a step sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.train.order.permutation import combine, permute


@dataclass(frozen=True)
class Draw:
    """One sample of a step: `position` in the global batch, `episode` (position in the dataset), frame `start`."""

    position: int
    episode: int
    start: int


class SampleOrder:
    """The infinite order in which the samples of a dataset are drawn."""

    def __init__(self, lengths: Sequence[int], seed: int) -> None:
        """Define the order.

        Args:
            lengths: number of samples of each episode; may be 0.
            seed: the run's seed.

        Raises:
            DataError: there is no sample.
        """
        self.seed = seed
        self._ends = np.cumsum(np.asarray(lengths, dtype=np.int64))
        self.size = int(self._ends[-1]) if len(self._ends) else 0
        if self.size == 0:
            raise DataError(
                "the dataset has no sample to train on: every episode is shorter than the action horizon; "
                "set tail: mask or add episodes"
            )

    def samples(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Episodes and start frames, int64 [count] each, of the draws `first` to ``first + count - 1``."""
        draws = first + np.arange(count, dtype=np.int64)
        passes, places = np.divmod(draws, self.size)
        numbers = np.empty(count, dtype=np.int64)
        for number in np.unique(passes):
            here = passes == number
            numbers[here] = permute(places[here], self.size, combine(self.seed, int(number)))
        episodes = np.searchsorted(self._ends, numbers, side="right")
        starts = numbers - np.where(episodes > 0, self._ends[episodes - 1], 0)
        return episodes, starts


@dataclass(frozen=True)
class BatchPlan:
    """How a global batch is divided: `workers` times `accumulation` micro-batches whose sizes differ by at most one.

    The reference interprets the flags differently: a step has ``global_batch_size * gradient_accumulation_steps``
    samples.
    """

    global_batch_size: int
    workers: int
    accumulation: int

    def __post_init__(self) -> None:
        pieces = self.workers * self.accumulation
        if self.global_batch_size < pieces:
            raise ConfigurationError(
                f"global_batch_size {self.global_batch_size} is too small for {self.workers} workers with "
                f"{self.accumulation} micro-batches each; use at least {pieces}, or fewer workers or "
                "gradient_accumulation_steps"
            )

    def positions(self, rank: int, micro: int) -> range:
        """Positions in the global batch that worker `rank` computes in its micro-batch number `micro`."""
        pieces = self.workers * self.accumulation
        piece = micro * self.workers + rank
        return range(piece * self.global_batch_size // pieces, (piece + 1) * self.global_batch_size // pieces)

    def describe(self) -> str:
        """One sentence for the log: the samples of a step, here and in the reference with the same flags."""
        pieces = self.workers * self.accumulation
        low, high = self.global_batch_size // pieces, -(-self.global_batch_size // pieces)
        micro = str(low) if low == high else f"{low} to {high}"
        sentence = (
            f"a step has {self.global_batch_size} samples (global_batch_size): "
            f"{self.workers} workers x {self.accumulation} micro-batches of {micro}"
        )
        if self.accumulation > 1:
            sentence += (
                f"; with NVIDIA's launcher it would have {self.global_batch_size * self.accumulation}, "
                "because gradient_accumulation_steps multiplies global_batch_size there"
            )
        return sentence


def step_draws(order: SampleOrder, plan: BatchPlan, step: int, rank: int, micro: int) -> list[Draw]:
    """The draws of one micro-batch of optimizer step `step` (counted from 0)."""
    positions = plan.positions(rank, micro)
    episodes, starts = order.samples(step * plan.global_batch_size + positions.start, len(positions))
    return [Draw(p, int(e), int(s)) for p, e, s in zip(positions, episodes, starts, strict=True)]
