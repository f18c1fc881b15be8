"""Merges the statistics of datasets into those of their mixture, as GR00T N1.6 does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def merge_statistics(members: Sequence[Mapping[str, object]], weights: Sequence[float]) -> dict[str, list[Any]]:
    """Merge ``{mean, std, min, max, q01, q99}`` (nested lists) of datasets drawn with `weights` (> 0, any scale).

    Mean and variance are those of the mixture; minimum and q01 are the smallest, maximum and q99 the largest of the
    members, because a mixture's percentiles cannot be computed from its members'.
    """
    share = np.asarray(weights, np.float64) / np.sum(weights)

    def stacked(name: str) -> np.ndarray:
        return np.stack([np.asarray(member[name], np.float64) for member in members])

    means, deviations = stacked("mean"), stacked("std")
    mean = np.tensordot(share, means, axes=1)
    variance = np.tensordot(share, deviations**2 + means**2, axes=1) - mean**2
    return {
        "min": stacked("min").min(axis=0).tolist(),
        "max": stacked("max").max(axis=0).tolist(),
        "mean": mean.tolist(),
        "std": np.sqrt(np.maximum(variance, 0.0)).tolist(),
        "q01": stacked("q01").min(axis=0).tolist(),
        "q99": stacked("q99").max(axis=0).tolist(),
    }
