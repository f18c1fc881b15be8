"""Metrics against a slow version that is plainly what the definitions say."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from groot_ray.evaluate.metrics import Scores, average, deviation, score

THRESHOLDS = [0.05, 0.1, 0.2]


def slow(prediction: np.ndarray, truth: np.ndarray) -> Scores:
    """The definitions, element by element."""
    n, dims = prediction.shape
    errors = [[abs(float(prediction[t, d]) - float(truth[t, d])) for d in range(dims)] for t in range(n)]
    flat = [e for row in errors for e in row]
    third = n // 3 if n >= 3 else 1
    early = [e for row in errors[:third] for e in row]
    late = [e for row in errors[n - third :] for e in row]
    return Scores(
        mse=statistics.fmean(e * e for e in flat),
        mae=statistics.fmean(flat),
        success={x: sum(1 for row in errors if max(row) < x) / n for x in THRESHOLDS},
        accuracy={x: sum(1 for e in flat if e < x) / len(flat) for x in THRESHOLDS},
        drift=statistics.fmean(late) - statistics.fmean(early),
    )


shapes = st.tuples(st.integers(1, 20), st.integers(1, 6))
elements = st.floats(-1, 1, width=32)
pairs = shapes.flatmap(
    lambda shape: st.tuples(
        arrays.arrays(np.float32, shape, elements=elements),
        arrays.arrays(np.float32, shape, elements=st.floats(-0.25, 0.25, width=32)),
    )
)


@given(pairs)
def test_score_equals_the_definitions(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, error = pair
    found, expected = score(truth + error, truth, THRESHOLDS), slow(truth + error, truth)
    assert found.mse == pytest.approx(expected.mse, abs=1e-12)
    assert found.mae == pytest.approx(expected.mae, abs=1e-12)
    assert found.drift == pytest.approx(expected.drift, abs=1e-12)
    assert found.success == expected.success
    assert found.accuracy == pytest.approx(expected.accuracy, abs=1e-12)
    assert all(found.success[x] <= found.accuracy[x] + 1e-12 for x in THRESHOLDS)


@given(pairs)
def test_success_grows_with_the_threshold(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, error = pair
    found = score(truth + error, truth, THRESHOLDS)
    assert found.success[0.05] <= found.success[0.1] <= found.success[0.2]


def test_success_needs_every_dimension_and_accuracy_counts_each() -> None:
    truth = np.zeros((4, 2))
    prediction = np.array([[0.01, 0.01], [0.01, 0.3], [0.06, 0.01], [0.3, 0.3]])
    found = score(prediction, truth, THRESHOLDS)
    assert found.success == {0.05: 0.25, 0.1: 0.5, 0.2: 0.5}
    assert found.accuracy == {0.05: 4 / 8, 0.1: 5 / 8, 0.2: 5 / 8}


def test_an_error_equal_to_the_threshold_is_not_within_it() -> None:
    assert score(np.full((1, 1), 0.5), np.zeros((1, 1)), [0.5]).success == {0.5: 0.0}


def test_drift_is_positive_where_the_end_is_worse() -> None:
    prediction = np.repeat([[0.0], [0.0], [0.5], [0.5], [0.5], [1.0], [1.0]], 2, axis=1)
    assert score(prediction, np.zeros((7, 2)), [0.1]).drift == pytest.approx(1.0)  # thirds of 7 // 3 = 2 frames


def test_average_is_the_plain_mean_whatever_the_lengths() -> None:
    long = score(np.zeros((100, 1)), np.zeros((100, 1)), [0.1])
    short = score(np.ones((1, 1)), np.zeros((1, 1)), [0.1])
    mean = average([long, short])
    assert (mean.mse, mean.mae, mean.success, mean.accuracy) == (0.5, 0.5, {0.1: 0.5}, {0.1: 0.5})


def test_nothing_to_rate_is_an_error() -> None:
    with pytest.raises(ValueError, match="cannot compare"):
        score(np.zeros((0, 2)), np.zeros((0, 2)), THRESHOLDS)
    with pytest.raises(ValueError, match="cannot compare"):
        score(np.zeros((3, 2)), np.zeros((3, 1)), THRESHOLDS)
    with pytest.raises(ValueError, match="no trajectory"):
        average([])


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=8))
def test_deviation_is_the_sample_standard_deviation(values: list[float]) -> None:
    assert deviation(values) == pytest.approx(statistics.stdev(values), abs=1e-9)


def test_one_trajectory_has_no_deviation() -> None:
    assert deviation([0.3]) is None
