"""Moments equal those of all data in float64, however the rows are divided and merged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groot_ray.statistics.moments import Moments


def truth(rows: np.ndarray) -> dict[str, list]:
    rows = rows.astype(np.float64)
    return {"mean": rows.mean(0), "std": rows.std(0), "min": rows.min(0), "max": rows.max(0)}


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 300),
    shape=st.sampled_from([(1,), (3,), (4, 2)]),
    offset=st.sampled_from([0.0, 1e3, -1e6]),
    cuts=st.lists(st.integers(0, 300), max_size=6),
    seed=st.integers(0, 1000),
)
def test_merged_parts_equal_the_whole(rows: int, shape: tuple, offset: float, cuts: list[int], seed: int) -> None:
    data = (np.random.default_rng(seed).normal(offset, 1.0, (rows, *shape))).astype(np.float32)
    moments = Moments.empty(shape)
    for part in np.split(data, sorted(min(cut, rows) for cut in cuts)):
        moments.update(part)
    expected = truth(data)
    assert moments.count == rows
    found = {"mean": moments.mean, "std": moments.std, "min": moments.low, "max": moments.high}
    for name, values in found.items():
        assert np.shape(values) == shape
        np.testing.assert_allclose(values, expected[name], rtol=1e-12, atol=1e-9 * max(1, abs(offset)))


def test_float64_where_float32_sums_drift() -> None:
    """Millions of frames far from zero: numpy's float32 mean, which the reference uses, is off; ours is not."""
    data = np.full((2_000_000, 1), 0.1, np.float32) + np.float32(3.0)
    moments = Moments.empty((1,))
    for part in np.split(data, 20):
        moments.update(part)
    assert moments.mean[0] == pytest.approx(np.float64(data[0, 0]), abs=1e-12)
    assert moments.std[0] == pytest.approx(0.0, abs=1e-12)
    assert np.abs(np.cumsum(data[:, 0], dtype=np.float32)[-1] / len(data) - data[0, 0]) > 1e-4
