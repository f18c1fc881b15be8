"""Scaling of state and action values to the range that a model is trained on, and back.

Statistics are float64; values keep their own dtype (float32 from datasets), so that results equal the reference's to
the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from groot_ray.errors import DataError


class Scaling(Protocol):
    """One key's scaling; `dims` is the width of raw values and `encoded_dims` that of scaled ones."""

    dims: int
    encoded_dims: int

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Scale raw values [..., T, dims] to [..., T, encoded_dims] of the same dtype."""

    def decode(self, values: np.ndarray) -> np.ndarray:
        """Scaled values to raw ones, float64 [..., T, dims]."""


class MinMax:
    """`low` to -1 and `high` to 1; dimensions that do not vary become 0.

    `low` and `high` are [dims], or [T, dims] for one range per step of the chunk. With `clip`, encoded values stay
    within [-1, 1].
    """

    def __init__(self, low: np.ndarray, high: np.ndarray, clip: bool = True) -> None:
        self.low, self.high, self.clip = low, high, clip
        self.dims = self.encoded_dims = low.shape[-1]
        varying = ~np.isclose(high, low)
        self._constant = None if varying.all() else ~varying
        self._range = np.where(varying, high - low, 1.0)

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Float values [..., dims] to the same shape and dtype."""
        share = ((values - self.low) / self._range).astype(values.dtype)
        scaled = 2 * share - 1
        if self._constant is not None:
            scaled[..., self._constant] = 0
        return np.clip(scaled, -1, 1, out=scaled) if self.clip else scaled

    def decode(self, values: np.ndarray) -> np.ndarray:
        """The inverse, of values clipped to [-1, 1]: float64 [..., dims]."""
        return (np.clip(values, -1, 1) + 1) / 2 * (self.high - self.low) + self.low


class MeanStd:
    """Zero mean and unit standard deviation; dimensions whose deviation is zero are unchanged.

    `mean`, `std`: [dims] or [T, dims].
    """

    def __init__(self, mean: np.ndarray, std: np.ndarray, clip: bool = False) -> None:
        self.clip = clip
        self.dims = self.encoded_dims = mean.shape[-1]
        varying = std != 0
        self._mean = np.where(varying, mean, 0.0)
        self._std = np.where(varying, std, 1.0)

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Float values [..., dims] to the same shape and dtype."""
        scaled = ((values - self._mean) / self._std).astype(values.dtype)
        return np.clip(scaled, -1, 1, out=scaled) if self.clip else scaled

    def decode(self, values: np.ndarray) -> np.ndarray:
        """The inverse: float64 [..., dims]."""
        return values * self._std + self._mean


class SinCos:
    """Sines and then cosines of `dims` angles in radians: twice as many values; needs no statistics."""

    def __init__(self, dims: int) -> None:
        self.dims = dims
        self.encoded_dims = 2 * dims

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Angles in radians, float [..., dims], to [..., 2 dims] of the same dtype."""
        return np.concatenate([np.sin(values), np.cos(values)], axis=-1)

    def decode(self, values: np.ndarray) -> np.ndarray:
        """The angles [..., dims] in (-pi, pi] radians, whatever turn they were in before."""
        return np.arctan2(values[..., : self.dims], values[..., self.dims :])


def min_max(statistics: Mapping[str, Any], where: str, percentiles: bool = False, clip: bool = True) -> MinMax:
    """`MinMax` from a key's statistics: min and max, or the 1st and 99th percentile.

    Raises:
        DataError: an entry is missing, of the wrong form or not finite; `where` says whose it is.
    """
    low, high = ("q01", "q99") if percentiles else ("min", "max")
    return MinMax(*_arrays(statistics, (low, high), where), clip=clip)


def mean_std(statistics: Mapping[str, Any], where: str, clip: bool = False) -> MeanStd:
    """`MeanStd` from a key's statistics; errors as in `min_max`."""
    return MeanStd(*_arrays(statistics, ("mean", "std"), where), clip=clip)


def _arrays(statistics: Mapping[str, Any], names: tuple[str, str], where: str) -> tuple[np.ndarray, np.ndarray]:
    arrays = []
    for name in names:
        if name not in statistics:
            raise DataError(f"the statistics of {where} have no {name!r}; regenerate them with `groot-ray stats`")
        try:
            array = np.asarray(statistics[name], dtype=np.float64)
        except (TypeError, ValueError):
            array = np.zeros(0)
        if array.ndim not in (1, 2) or array.size == 0 or not np.isfinite(array).all():
            raise DataError(
                f"{name!r} in the statistics of {where} is not a list of finite numbers; regenerate them with "
                "`groot-ray stats`"
            )
        arrays.append(array)
    first, second = arrays
    if first.shape != second.shape:
        raise DataError(
            f"{names[0]!r} {list(first.shape)} and {names[1]!r} {list(second.shape)} in the statistics of {where} "
            "differ in size; "
            "regenerate them with `groot-ray stats`"
        )
    return first, second
