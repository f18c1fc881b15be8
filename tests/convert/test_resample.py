"""Resampling rules against slow, obvious versions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groot_ray.convert.resample import by_index, by_linspace, by_timestamp, resample_action, resample_state, sample

frames = st.integers(1, 3000)
rates = st.sampled_from([20, 24, 25, 30, 50, 50.0, 60, 100, 29.97])


@settings(deadline=None)
@given(n=frames, fps=rates, target=st.sampled_from([20, 20.0, 10, 15]))
def test_by_index_is_the_published_rule(n: int, fps: float, target: float) -> None:
    count = int(n / fps * target)
    sampling = by_index(n, fps, target)
    assert sampling.indices.tolist() == [min(int((i / target) * fps), n - 1) for i in range(count)]
    assert sampling.indices.dtype == np.int64


def test_by_index_is_not_integer_arithmetic() -> None:
    """At 30 Hz frame 37 falls just below 55.5, at 100 Hz frame 23 * 5 = 115 just below 115: float64 decides."""
    n, fps = 100_000, 100
    indices = by_index(n, fps, 20).indices
    integers = np.arange(len(indices)) * fps // 20
    differing = np.flatnonzero(indices != integers)
    assert len(differing) > 0
    for k in differing[:50]:
        assert indices[k] == int((int(k) / 20) * fps) == integers[k] - 1


@settings(deadline=None)
@given(n=frames, fps=rates)
def test_linspace_is_the_guides_rule(n: int, fps: float) -> None:
    expected = np.linspace(0, n - 1, int(n * 20 / fps)).astype(int)
    assert by_linspace(n, fps, 20).indices.tolist() == expected.tolist()


@settings(deadline=None)
@given(
    n=st.integers(1, 400),
    fps=st.sampled_from([20, 30, 50]),
    dropped=st.sets(st.integers(1, 399)),
    noise=st.integers(0, 9),
)
def test_timestamps_pick_the_nearest_frame(n: int, fps: int, dropped: set[int], noise: int) -> None:
    kept = [i for i in range(n) if i not in dropped]
    jitter = np.random.default_rng(noise).uniform(-0.2, 0.2, len(kept)) / fps
    times = (np.asarray(kept) / fps + jitter + 5.0).astype(np.float32)
    sampling = by_timestamp(times, fps, 20)
    relative = times.astype(float) - times[0]
    assert len(sampling.indices) == int((relative[-1] + 1 / fps) * 20 + 1e-3)
    for k, index in enumerate(sampling.indices):
        assert abs(relative[index] - k / 20) <= np.abs(relative - k / 20).min() + 2e-6
    assert (np.diff(sampling.indices) >= 0).all() and (sampling.ends >= sampling.indices).all()


@settings(deadline=None)
@given(n=st.integers(3, 2000), fps=st.sampled_from([20, 25, 40, 50]))
def test_without_gaps_timestamps_keep_the_pace_of_the_index_rule(n: int, fps: int) -> None:
    times = (np.arange(n) / fps).astype(np.float32)
    one, two = by_timestamp(times, fps, 20).indices, by_index(n, fps, 20).indices
    assert abs(len(one) - len(two)) <= 1
    common = min(len(one), len(two))
    assert np.abs(one[:common] - two[:common]).max(initial=0) <= 1


def test_timestamps_must_increase() -> None:
    with pytest.raises(ValueError, match=r"at row 2 is not later than"):
        by_timestamp(np.array([0.0, 0.05, 0.05, 0.1]), 20, 20)


@settings(deadline=None)
@given(n=st.integers(2, 500), fps=st.sampled_from([30, 50, 60]), rule=st.sampled_from(["index", "linspace"]))
def test_deltas_are_summed_over_their_interval(n: int, fps: int, rule: str) -> None:
    rng = np.random.default_rng(n)
    values = rng.integers(-8, 8, (n, 3)).astype(np.float32)
    sampling = sample(rule, n, fps, 20)
    kinds = ["position", "delta", "velocity"]
    action = resample_action(values, kinds, sampling)
    state = resample_state(values, kinds, sampling)
    assert action.dtype == state.dtype == np.float32
    for column in (0, 2):
        np.testing.assert_array_equal(action[:, column], values[sampling.indices, column])
        np.testing.assert_array_equal(state[:, column], values[sampling.indices, column])
    previous = -1
    for k, index in enumerate(sampling.indices):
        following = sampling.indices[k + 1] if k + 1 < len(sampling.indices) else sampling.ends[k]
        assert action[k, 1] == values[index:following, 1].sum()
        assert state[k, 1] == values[previous + 1 : index + 1, 1].sum()
        previous = index
    if len(action):
        last = sampling.ends[-1]
        assert action[:, 1].sum() == values[sampling.indices[0] : last, 1].sum()
        assert last <= n
        assert rule == "linspace" or last - sampling.indices[-1] <= np.ceil(fps / 20) + 1


def test_known_values() -> None:
    assert by_index(400, 50, 20).indices[:6].tolist() == [0, 2, 5, 7, 10, 12]
    assert len(by_index(400, 50, 20).indices) == 160
    assert by_index(150, 30, 20).indices[:5].tolist() == [0, 1, 3, 4, 6]
    assert len(by_index(150, 30, 20).indices) == 100
    assert by_linspace(400, 50, 20).indices[[0, 1, -1]].tolist() == [0, 2, 399]
    assert by_timestamp(np.array([0, 0.02, 0.2, 0.22]), 50, 20).indices.tolist() == [0, 1, 1, 2]
