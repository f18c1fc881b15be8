"""From the predictions of several trajectories to the numbers of ``metrics.json``, as a pure function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from groot_ray.evaluate.metrics import Scores, average, deviation, score

if TYPE_CHECKING:
    import numpy as np

    from groot_ray.evaluate.layout import ActionLayout

FORMAT = 1

DEFINITIONS = {
    "units": "errors are in the units of the dataset, not normalized; a threshold X is the same number for every "
    "dimension",
    "mse": "mean of the squared error over all frames and dimensions of a trajectory",
    "mae": "mean of the absolute error over all frames and dimensions of a trajectory",
    "success": "Success@X: share of frames in which the absolute error of every dimension is below X",
    "accuracy": "Accuracy@X: share of single predictions (a frame and a dimension) whose absolute error is below X",
    "error_drift": "MAE of the last third of a trajectory's frames minus MAE of its first third (n // 3 frames each); "
    "negative: the predictions are better at the end",
    "average": "plain mean over trajectories, whatever their lengths",
    "deviation": "sample standard deviation over trajectories; null for a single one",
    "all": "every dimension that the model predicts, padding and copies included",
    "real": "the robot's own dimensions: padding and constants left out, a replicated gripper counted once",
}


@dataclass(frozen=True)
class Trajectory:
    """Predicted and recorded actions, float [n, D], of an episode's first n frames, and the frames of inference."""

    id: int
    prediction: np.ndarray
    truth: np.ndarray
    starts: tuple[int, ...]


def rate(layout: ActionLayout, trajectories: Sequence[Trajectory], thresholds: Sequence[float]) -> dict[str, Any]:
    """Rate predictions over all dimensions and over the robot's own, in total, per component, trajectory and dimension.

    Returns:
        JSON data: ``average``, ``deviation``, ``trajectories`` (each with its components), ``components``,
        ``dimensions``; see `DEFINITIONS`. Without real dimensions, ``real`` is None.
    """
    views: dict[str | None, dict[str, list[int]]] = {None: {"all": list(range(layout.dims)), "real": list(layout.real)}}
    for key in layout.keys:
        views[key] = {"all": layout.columns(key), "real": layout.columns(key, real_only=True)}
    scores = {
        (key, name): [score(t.prediction[:, columns], t.truth[:, columns], thresholds) for t in trajectories]
        if columns
        else None
        for key, view in views.items()
        for name, columns in view.items()
    }

    def pick(key: str | None, place: int | None) -> dict[str, Any]:
        """Scores of a component (None: of all) in one trajectory, or averaged."""
        chosen = {name: scores[key, name] for name in ("all", "real")}
        return {name: _json(several, place) for name, several in chosen.items()}

    return {
        "average": pick(None, None),
        "deviation": {name: _deviations(scores[None, name]) for name in ("all", "real")},
        "trajectories": [
            {
                "id": t.id,
                "frames": len(t.truth),
                **pick(None, i),
                "components": {key: pick(key, i) for key in layout.keys},
            }
            for i, t in enumerate(trajectories)
        ],
        "components": {key: pick(key, None) for key in layout.keys},
        "dimensions": [_dimension(layout, column, trajectories, thresholds) for column in range(layout.dims)],
    }


def _json(scores: list[Scores] | None, place: int | None) -> dict[str, Any] | None:
    if scores is None:
        return None
    return (average(scores) if place is None else scores[place]).to_json()


def _deviations(scores: list[Scores] | None) -> dict[str, float | None] | None:
    if scores is None:
        return None
    return {"mse": deviation([s.mse for s in scores]), "mae": deviation([s.mae for s in scores])}


def _dimension(
    layout: ActionLayout, column: int, trajectories: Sequence[Trajectory], thresholds: Sequence[float]
) -> dict[str, Any]:
    mean = average([score(t.prediction[:, [column]], t.truth[:, [column]], thresholds) for t in trajectories])
    return {
        "name": layout.names[column],
        "unit": layout.units[column],
        "component": layout.component(column),
        "real": column in layout.real,
        "mse": mean.mse,
        "mae": mean.mae,
    }
