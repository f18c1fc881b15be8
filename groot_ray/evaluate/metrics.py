"""Open-loop metrics of predicted actions, as pure functions of arrays.

All are in the units of the dataset (radians, meters per second ...), never of normalized actions. `score` rates one
trajectory; `average` is the plain mean over trajectories of any length, as in GR00T N1.6's open-loop script.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Scores:
    """Errors of predictions over some dimensions of one trajectory or, averaged, of several.

    `success` and `accuracy` map a threshold to a share between 0 and 1; `drift` is in the units of `mae`.
    """

    mse: float
    mae: float
    success: dict[float, float]
    accuracy: dict[float, float]
    drift: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; thresholds become text such as ``"0.05"``."""
        return {
            "mse": self.mse,
            "mae": self.mae,
            "success": {f"{threshold:g}": share for threshold, share in self.success.items()},
            "accuracy": {f"{threshold:g}": share for threshold, share in self.accuracy.items()},
            "error_drift": self.drift,
        }


def score(prediction: np.ndarray, truth: np.ndarray, thresholds: Sequence[float]) -> Scores:
    """Rate the predicted actions of one trajectory.

    Args:
        prediction: float [n, D], the actions that the model predicts for n frames, D dimensions.
        truth: float [n, D], the recorded actions of the same frames.
        thresholds: limits of Success@X and Accuracy@X, in the units of the actions.

    Returns:
        With e = prediction - truth in float64:
        mse = mean of e^2 and mae = mean of |e| over all n x D elements;
        success[X] = share of frames in which |e| < X in *every* dimension;
        accuracy[X] = share of the n x D elements with |e| < X;
        drift = mae of the last third of the frames minus mae of the first third; a third is n // 3 frames, or one.

    Raises:
        ValueError: the shapes differ or there is nothing to rate.
    """
    import numpy as np

    # Contiguous copies: the order in which numpy sums, and so the last bit, depends on the layout in memory.
    predicted, recorded = (
        np.ascontiguousarray(prediction, dtype=np.float64),
        np.ascontiguousarray(truth, dtype=np.float64),
    )
    if predicted.shape != recorded.shape or predicted.ndim != 2 or predicted.size == 0:
        raise ValueError(f"cannot compare actions of shape {predicted.shape} with {recorded.shape}")
    error = np.abs(predicted - recorded)
    third = max(1, len(error) // 3)
    return Scores(
        mse=float(np.mean(error**2)),
        mae=float(np.mean(error)),
        success={x: float(np.mean((error < x).all(axis=1))) for x in thresholds},
        accuracy={x: float(np.mean(error < x)) for x in thresholds},
        drift=float(np.mean(error[-third:]) - np.mean(error[:third])),
    )


def average(scores: Sequence[Scores]) -> Scores:
    """Plain mean of each metric over trajectories; all must have the same thresholds.

    Raises:
        ValueError: there are no scores.
    """
    if not scores:
        raise ValueError("cannot average the metrics of no trajectory")
    n = len(scores)
    return Scores(
        mse=sum(s.mse for s in scores) / n,
        mae=sum(s.mae for s in scores) / n,
        success={x: sum(s.success[x] for s in scores) / n for x in scores[0].success},
        accuracy={x: sum(s.accuracy[x] for s in scores) / n for x in scores[0].accuracy},
        drift=sum(s.drift for s in scores) / n,
    )


def deviation(values: Sequence[float]) -> float | None:
    """Sample standard deviation (n - 1) over trajectories; None for fewer than two."""
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    return float((sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5)
