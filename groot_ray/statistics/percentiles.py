"""Exact percentiles of float32 columns with numpy's linear interpolation: fixed memory, mergeable across workers.

A percentile lies between two neighboring values of the sorted column, so the values of two ranks are needed. Three
methods find them:

- `Sample` keeps every n-th row in the first pass. If that is every row, its quantiles are exact.
- `Bracket`: otherwise the sample gives two values that almost surely enclose the needed ones. A second pass
  counts the values below and keeps those between, about one in a hundred. The counts prove that the result is exact, or
  that the bracket missed.
- `RankSearch`, for brackets that missed and for data of which even a hundredth is too large: float32 numbers
  map to 32-bit integers in the same order, and a value is found digit by digit, by three passes that count into at
  most 4096 bins for each rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

DIGITS = (12, 10, 10)  # bits of each pass of a rank search, highest first; together 32
DEVIATIONS = 5.0  # half-width of a bracket, in standard deviations of a value's rank in the sample


def neighbors(count: int, quantiles: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Ranks int64 [Q, 2] (from 0) around each quantile of `count` values, and weights float64 [Q] of the upper ones."""
    positions = np.asarray(quantiles, np.float64) * (count - 1)
    below = np.floor(positions).astype(np.int64)
    above = np.minimum(below + 1, count - 1)
    return np.stack([below, above], axis=1), positions - below


def interpolate(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float64 [Q, C] from the neighboring values [Q, 2, C] and the upper ones' weights [Q]."""
    pairs = values.astype(np.float64)
    found: np.ndarray = pairs[:, 0] + (pairs[:, 1] - pairs[:, 0]) * weights[:, None]
    return found


def quantiles_of(columns: np.ndarray, quantiles: Sequence[float]) -> np.ndarray:
    """Exact quantiles float64 [Q, C] of float32 columns [C, N] by selection in memory."""
    ranks, weights = neighbors(columns.shape[1], quantiles)
    selected = np.partition(columns, np.unique(ranks), axis=1)
    return interpolate(np.moveaxis(selected[:, ranks], 0, -1), weights)


@dataclass
class Sample:
    """Every `stride`-th row, as columns; each part of the data starts with its first row."""

    stride: int = 1
    seen: int = 0
    blocks: list[np.ndarray] = field(default_factory=list)

    def update(self, columns: np.ndarray) -> None:
        """Add float32 columns [C, N]."""
        first = -self.seen % self.stride
        self.seen += columns.shape[1]
        kept = columns[:, first :: self.stride]
        if kept.shape[1]:
            self.blocks.append(kept if self.stride == 1 else kept.copy())

    def merge(self, other: Sample) -> None:
        """Add another part's rows."""
        self.seen += other.seen
        self.blocks.extend(other.blocks)

    @property
    def columns(self) -> np.ndarray:
        """The kept values, float32 [C, n]."""
        return np.concatenate(self.blocks, axis=1)


@dataclass
class Bracket:
    """Values between `low` and `high`, float32 [Q, C] each, and the counts int64 [Q, C] that prove their ranks.

    `below` counts smaller values than low, `at_low` and `at_high` those equal to the ends (there may be many, as for a
    gripper at rest). The values between are kept for each quantile as pairs of arrays: column int32, value float32.
    """

    low: np.ndarray
    high: np.ndarray
    below: np.ndarray
    at_low: np.ndarray
    at_high: np.ndarray
    between: list[list[tuple[np.ndarray, np.ndarray]]]

    @classmethod
    def around(cls, sample: np.ndarray, quantiles: Sequence[float]) -> Bracket:
        """Brackets around the quantiles, from a sample float32 [C, n] of the columns."""
        count = sample.shape[1]
        positions = np.asarray(quantiles, np.float64) * (count - 1)
        spread = DEVIATIONS * np.sqrt(count * np.asarray(quantiles) * (1 - np.asarray(quantiles))) + 2
        ranks = np.stack([np.floor(positions - spread), np.ceil(positions + spread)]).astype(np.int64)
        clipped = np.clip(ranks, 0, count - 1)
        selected = np.partition(sample, np.unique(clipped), axis=1)
        low, high = np.moveaxis(selected[:, clipped], 0, -1)
        # The data may go beyond the sample's extremes: brackets there are open.
        low = np.where(ranks[0][:, None] < 0, np.float32(-np.inf), low)
        high = np.where(ranks[1][:, None] >= count, np.float32(np.inf), high)
        return cls(low, high, *_zeros(low.shape), [[] for _ in quantiles])

    def fresh(self) -> Bracket:
        """The same brackets with empty counts, for a part of the data."""
        return Bracket(self.low, self.high, *_zeros(self.low.shape), [[] for _ in self.between])

    def update(self, columns: np.ndarray) -> None:
        """Add float32 columns [C, N]."""
        count = columns.shape[1]
        for q, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            # Only the rarer side is checked value by value: small values for a low quantile, large ones for a high one.
            lower_half = q < len(self.low) / 2
            column, row = np.nonzero(columns <= high[:, None] if lower_half else columns >= low[:, None])
            value = columns[column, row]
            ends = low[column], high[column]
            if lower_half:
                self.below[q] += self._count(column[value < ends[0]])
            else:
                self.below[q] += count - self._count(column)
            at_low = value == ends[0]
            self.at_low[q] += self._count(column[at_low])
            self.at_high[q] += self._count(column[(value == ends[1]) & ~at_low])
            inside = (value > ends[0]) & (value < ends[1])
            if inside.any():
                self.between[q].append((column[inside].astype(np.int32), value[inside]))

    def _count(self, column: np.ndarray) -> np.ndarray:
        return np.bincount(column, minlength=self.low.shape[1])

    def merge(self, other: Bracket) -> None:
        """Add another part's counts and values."""
        self.below = self.below + other.below
        self.at_low = self.at_low + other.at_low
        self.at_high = self.at_high + other.at_high
        for ours, theirs in zip(self.between, other.between, strict=True):
            ours.extend(theirs)

    def values(self, ranks: np.ndarray) -> np.ndarray | None:
        """The values float32 [Q, 2, C] of `ranks` int64 [Q, 2]; None if some rank lies outside its bracket."""
        found = np.empty((*ranks.shape, self.low.shape[1]), np.float32)
        for q, kept in enumerate(self.between):
            column = np.concatenate([c for c, _ in kept]) if kept else np.zeros(0, np.int32)
            value = np.concatenate([v for _, v in kept]) if kept else np.zeros(0, np.float32)
            # One sort by column, then value: both are packed into one integer, since sorting integers is fastest.
            value = values_of(
                np.sort((column.astype(np.uint64) << np.uint64(32)) | ordered_keys(value)).astype(np.uint32)
            )
            inside = self._count(column)
            starts = np.cumsum(inside) - inside
            for side, rank in enumerate(ranks[q]):
                place = rank - self.below[q] - self.at_low[q]
                if (rank < self.below[q]).any() or (place >= inside + self.at_high[q]).any():
                    return None
                between = (place >= 0) & (place < inside)
                found[q, side] = np.where(place < 0, self.low[q], self.high[q])
                found[q, side][between] = value[(starts + place)[between]]
        return found


def _zeros(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)


def ordered_keys(values: np.ndarray) -> np.ndarray:
    """uint32 keys, of equal shape, that sort like the float32 values (NaN excluded)."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


def values_of(keys: np.ndarray) -> np.ndarray:
    """The float32 values of which `ordered_keys` made these uint32 keys; equal shape."""
    bits = np.where(keys >> 31, keys & np.uint32((1 << 31) - 1), ~keys)
    return np.ascontiguousarray(bits, np.uint32).view(np.float32)


@dataclass
class RankSearch:
    """One pass of the search, over C columns, for the values of K ranks.

    In the first pass `prefix` is None and the counters int64 [C, bins] serve all ranks. Later ones count int64 [C, K,
    bins] the values whose known higher bits are `prefix` uint32 [C, K]; `remaining` int64 [C, K] is the rank among
    those.
    """

    columns: int
    level: int = 0
    prefix: np.ndarray | None = None
    remaining: np.ndarray | None = None
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        if not self.counts.size and not self.done:
            ranks = () if self.prefix is None else (self.prefix.shape[1],)
            self.counts = np.zeros((self.columns, *ranks, 1 << DIGITS[self.level]), np.int64)

    @property
    def done(self) -> bool:
        """Whether all bits are known, so that `values` is available."""
        return self.level == len(DIGITS)

    @property
    def values(self) -> np.ndarray:
        """The values float32 [K, C] of the ranks, once done."""
        assert self.done and self.prefix is not None
        return values_of(self.prefix).T

    @property
    def _shift(self) -> int:
        return sum(DIGITS[self.level + 1 :])

    def update(self, columns: np.ndarray) -> None:
        """Count float32 columns [C, N]."""
        keys = ordered_keys(columns)
        bins = 1 << DIGITS[self.level]
        digits = (keys >> np.uint32(self._shift)) & np.uint32(bins - 1)
        offsets = np.arange(self.columns) * bins
        if self.prefix is None:
            flat = (digits + offsets[:, None]).reshape(-1)
            self.counts += np.bincount(flat, minlength=self.columns * bins).reshape(self.counts.shape)
            return
        known = keys >> np.uint32(self._shift + DIGITS[self.level])
        for k in range(self.prefix.shape[1]):
            column, row = np.nonzero(known == self.prefix[:, k, None])
            flat = digits[column, row] + offsets[column]
            self.counts[:, k] += np.bincount(flat, minlength=self.columns * bins).reshape(self.columns, bins)

    def merge(self, other: RankSearch) -> None:
        """Add another part's counters of the same pass."""
        self.counts = self.counts + other.counts

    def narrow(self, ranks: np.ndarray) -> RankSearch:
        """The next pass of the search for `ranks` int64 [K] (only the first pass takes them), done after the last."""
        if self.prefix is None:
            counts = np.broadcast_to(self.counts[:, None], (self.columns, len(ranks), self.counts.shape[-1]))
            remaining = np.broadcast_to(ranks, (self.columns, len(ranks)))
            prefix = np.zeros((self.columns, len(ranks)), np.uint32)
        else:
            assert self.remaining is not None
            counts, remaining, prefix = self.counts, self.remaining, self.prefix
        until = np.cumsum(counts, axis=-1)
        digit = (until <= remaining[..., None]).sum(axis=-1)
        before = np.take_along_axis(until - counts, digit[..., None], axis=-1)[..., 0]
        prefix = (prefix << np.uint32(DIGITS[self.level])) | digit.astype(np.uint32)
        return RankSearch(self.columns, self.level + 1, prefix, remaining - before)

    def fresh(self) -> RankSearch:
        """The same pass with empty counters, for another part of the data."""
        return RankSearch(self.columns, self.level, self.prefix, self.remaining)
