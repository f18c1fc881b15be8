"""Selects the source frames of a converted episode, as pure functions.

A sampling is given by two arrays: `indices` int64 [N], the source frame that each converted frame shows, and `ends`
int64 [N], the source frame before which its interval ends: quantities that are changes since the frame before are
summed over this interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Sampling(NamedTuple):
    """`indices` int64 [N], non-decreasing; `ends` int64 [N] with indices[k] <= ends[k]."""

    indices: np.ndarray
    ends: np.ndarray


def by_index(frames: int, source_fps: float, fps: float) -> Sampling:
    """Frame k of ``int(frames / source_fps * fps)`` is source frame ``min(int((k / fps) * source_fps), frames - 1)``.

    The rule is evaluated in float64 as written: integer arithmetic gives different frames where a product falls just
    below a whole number.
    """
    count = int(frames / source_fps * fps)
    starts = ((np.arange(count + 1) / fps) * source_fps).astype(np.int64)
    indices = np.minimum(starts[:-1], frames - 1)
    return Sampling(indices, np.maximum(np.minimum(starts[1:], frames), indices))


def by_linspace(frames: int, source_fps: float, fps: float) -> Sampling:
    """``int(frames * fps / source_fps)`` points spread evenly from the first source frame to the last, rounded down."""
    count = int(frames * fps / source_fps)
    indices = np.linspace(0, frames - 1, count).astype(np.int64)
    return Sampling(indices, np.append(indices[1:], frames)[: len(indices)])


def by_timestamp(timestamps: np.ndarray, source_fps: float, fps: float) -> Sampling:
    """Frame k shows the source frame nearest to k / fps seconds after the first (on a tie, the earlier one).

    For recordings with dropped frames: `timestamps` float [T] in seconds must increase, and the duration is
    theirs plus one frame of `source_fps`. Raises ValueError if they do not increase.
    """
    times = np.asarray(timestamps, np.float64).reshape(-1)
    times = times - times[0]
    steps = np.diff(times)
    if not (steps > 0).all():
        row = int(np.argmin(steps > 0)) + 1
        raise ValueError(f"timestamp {timestamps[row]} at row {row} is not later than {timestamps[row - 1]} before it")
    # float32 timestamps have a relative error of up to 1e-7; a thousandth of a frame must not drop the last frame.
    count = int((times[-1] + 1 / source_fps) * fps + 1e-3)
    if not count:
        return Sampling(np.zeros(0, np.int64), np.zeros(0, np.int64))
    targets = np.arange(count) / fps
    after = np.clip(np.searchsorted(times, targets), 1, len(times) - 1) if len(times) > 1 else np.zeros(count, np.int64)
    before = np.maximum(after - 1, 0)
    nearer_before = targets - times[before] <= times[after] - targets + 1e-6
    indices = np.where(nearer_before, before, after).astype(np.int64)
    end = int(np.searchsorted(times, count / fps - 1e-6))
    return Sampling(indices, np.append(indices[1:], max(end, indices[-1] + 1))[: len(indices)])


def sample(rule: str, frames: int, source_fps: float, fps: float, timestamps: np.ndarray | None = None) -> Sampling:
    """Apply the rule `index`, `linspace` or `timestamp` (which needs `timestamps`, float [frames] in seconds)."""
    if rule == "index":
        return by_index(frames, source_fps, fps)
    if rule == "linspace":
        return by_linspace(frames, source_fps, fps)
    if rule == "timestamp" and timestamps is not None:
        return by_timestamp(timestamps, source_fps, fps)
    raise ValueError(f"unknown rule {rule!r}")


def resample_state(values: np.ndarray, kinds: Sequence[str], sampling: Sampling) -> np.ndarray:
    """Select rows of `values` float32 [T, D]; `delta` columns are summed since the previous kept frame: [N, D]."""
    indices = sampling.indices
    since = np.append(indices[:1] - 1, indices[:-1]) + 1
    return _pick(values, kinds, indices, np.minimum(since, indices + 1), indices + 1)


def resample_action(values: np.ndarray, kinds: Sequence[str], sampling: Sampling) -> np.ndarray:
    """Select rows of `values` float32 [T, D]; `delta` columns are summed up to the next kept frame: [N, D]."""
    return _pick(values, kinds, sampling.indices, sampling.indices, sampling.ends)


def _pick(
    values: np.ndarray, kinds: Sequence[str], indices: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    picked = np.array(values[indices], np.float32)
    deltas = np.asarray([kind == "delta" for kind in kinds], bool)
    if deltas.any():
        total = np.zeros((len(values) + 1, int(deltas.sum())), np.float64)
        np.cumsum(values[:, deltas], axis=0, dtype=np.float64, out=total[1:])
        picked[:, deltas] = total[ends] - total[starts]
    return picked
