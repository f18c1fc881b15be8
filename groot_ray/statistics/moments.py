"""Mean, standard deviation, minimum and maximum in one pass, in float64, mergeable.

Follows Chan, Golub and LeVeque (1983): two parts' means and sums of squared deviations give those of their union
without the cancellation of sums of squares. float32 sums, in contrast, drift by 1e-6 after 2,000 frames and by 6e-4
after 4 million.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Moments:
    """Moments of rows [N, *shape]; `mean`, `squares` (squared deviations, summed), `low`, `high`: float64 [*shape]."""

    count: int
    mean: np.ndarray
    squares: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> Moments:
        """Moments of no rows."""
        return cls(0, np.zeros(shape), np.zeros(shape), np.full(shape, np.inf), np.full(shape, -np.inf))

    @classmethod
    def of(cls, rows: np.ndarray) -> Moments:
        """Moments of float rows [N, *shape]."""
        shape = rows.shape[1:]
        if not len(rows):
            return cls.empty(shape)
        found = cls.of_columns(np.ascontiguousarray(rows.reshape(len(rows), -1).T))
        parts = (part.reshape(shape) for part in (found.mean, found.squares, found.low, found.high))
        return cls(found.count, *parts)

    @classmethod
    def of_columns(cls, columns: np.ndarray) -> Moments:
        """Moments of float columns [C, N], N > 0, each contiguous: shape (C,). For blocks that fit the CPU cache."""
        low, high = columns.min(axis=1).astype(np.float64), columns.max(axis=1).astype(np.float64)
        deviations = columns.astype(np.float64)
        mean = deviations.mean(axis=1)
        deviations -= mean[:, None]
        return cls(columns.shape[1], mean, np.einsum("cn,cn->c", deviations, deviations), low, high)

    def update(self, rows: np.ndarray) -> None:
        """Add float rows [N, *shape]."""
        self.merge(Moments.of(rows))

    def update_columns(self, columns: np.ndarray) -> None:
        """Add float columns [C, N] to moments of shape (C,)."""
        if columns.shape[1]:
            self.merge(Moments.of_columns(columns))

    def merge(self, other: Moments) -> None:
        """Add another part's rows. Merging in a fixed order gives identical bits, wherever the parts were computed."""
        if not other.count:
            return
        count = self.count + other.count
        shift = other.mean - self.mean
        self.squares = self.squares + other.squares + shift * shift * (self.count * other.count / count)
        self.mean = self.mean + shift * (other.count / count)
        self.low = np.minimum(self.low, other.low)
        self.high = np.maximum(self.high, other.high)
        self.count = count

    @property
    def std(self) -> np.ndarray:
        """Standard deviation of the population (ddof 0), float64 of `shape`."""
        return np.sqrt(self.squares / self.count)
