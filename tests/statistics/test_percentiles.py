"""Percentiles equal numpy's, whether selected in memory, found in brackets or searched digit by digit."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from groot_ray.statistics.percentiles import (
    Bracket,
    RankSearch,
    Sample,
    interpolate,
    neighbors,
    ordered_keys,
    quantiles_of,
    values_of,
)

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
QUANTILES = (0.01, 0.99)


def searched(parts: list[np.ndarray], quantiles: tuple[float, ...] = QUANTILES) -> np.ndarray:
    """Quantiles by digit search, over columns [C, n] of each part."""
    ranks, weights = neighbors(sum(part.shape[1] for part in parts), quantiles)
    search = RankSearch(len(parts[0]))
    while not search.done:
        search = merged(search, parts).narrow(ranks.reshape(-1))
    return interpolate(search.values.reshape(len(quantiles), 2, -1), weights)


def merged(counter, parts: list[np.ndarray]):
    """Count every part separately, then merge."""
    counted = [counter.fresh() for _ in parts]
    for each, part in zip(counted, parts, strict=True):
        each.update(part)
    for each in counted[1:]:
        counted[0].merge(each)
    return counted[0]


def bracketed(parts: list[np.ndarray], stride: int) -> np.ndarray | None:
    """Quantiles by brackets around a sample; None if they missed."""
    samples = [Sample(stride) for _ in parts]
    for sample, part in zip(samples, parts, strict=True):
        sample.update(part)
    for sample in samples[1:]:
        samples[0].merge(sample)
    ranks, weights = neighbors(sum(part.shape[1] for part in parts), QUANTILES)
    found = merged(Bracket.around(samples[0].columns, QUANTILES), parts).values(ranks)
    return None if found is None else interpolate(found, weights)


@settings(deadline=None)
@given(st.lists(finite, min_size=1, max_size=50))
def test_keys_sort_like_the_numbers(values: list[float]) -> None:
    array = np.array(values, np.float32)
    np.testing.assert_array_equal(values_of(ordered_keys(array)), array)
    np.testing.assert_array_equal(values_of(np.sort(ordered_keys(array))), np.sort(array))


KINDS = {
    "normal": lambda rng, shape: rng.normal(0, 1, shape),
    "walk": lambda rng, shape: np.cumsum(rng.normal(0, 0.01, shape), axis=1),
    "gripper": lambda rng, shape: (rng.random(shape) < 0.02).astype(float),
    "constant": lambda rng, shape: np.full(shape, -0.25),
    "few": lambda rng, shape: rng.integers(-3, 3, shape).astype(float),
    "wide": lambda rng, shape: rng.normal(0, 1, shape) * 10.0 ** rng.integers(-30, 30, shape),
}


@settings(max_examples=120, deadline=None)
@given(
    count=st.integers(1, 900),
    kind=st.sampled_from(sorted(KINDS)),
    cuts=st.lists(st.integers(0, 900), max_size=4),
    stride=st.integers(1, 9),
    seed=st.integers(0, 1000),
)
def test_all_ways_equal_numpy(count: int, kind: str, cuts: list[int], stride: int, seed: int) -> None:
    data = KINDS[kind](np.random.default_rng(seed), (3, count)).astype(np.float32)
    expected = np.quantile(data.astype(np.float64), QUANTILES, axis=1)
    parts = np.split(data, sorted(min(cut, count) for cut in cuts), axis=1)
    direct = quantiles_of(data, QUANTILES)
    np.testing.assert_allclose(direct, expected, rtol=1e-12)
    np.testing.assert_array_equal(searched(parts), direct)
    by_brackets = bracketed(parts, stride)
    if kind != "walk" or stride == 1:
        assert by_brackets is not None
    if by_brackets is not None:
        np.testing.assert_array_equal(by_brackets, direct)


def test_brackets_keep_little_and_tell_when_they_miss() -> None:
    rng = np.random.default_rng(0)
    data = np.sort(rng.normal(size=(4, 100_000)).astype(np.float32), axis=1)  # the opposite of shuffled
    sample = Sample(12)
    sample.update(data)
    bracket = Bracket.around(sample.columns, QUANTILES)
    bracket.update(data)
    assert sum(len(value) for kept in bracket.between for _, value in kept) < 0.04 * data.size
    ranks, weights = neighbors(100_000, QUANTILES)
    np.testing.assert_array_equal(interpolate(bracket.values(ranks), weights), quantiles_of(data, QUANTILES))
    elsewhere = Bracket.around(sample.columns + np.float32(1.0), QUANTILES)
    elsewhere.update(data)
    assert elsewhere.values(ranks) is None


def test_memory_of_the_search_does_not_grow_with_the_rows() -> None:
    search = RankSearch(5)
    size = search.counts.nbytes
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(5, 20_000)).astype(np.float32) for _ in range(10)]
    for part in parts:
        search.update(part)
    assert search.counts.nbytes == size == 5 * 4096 * 8
    assert search.counts.sum() == 5 * 200_000
    np.testing.assert_array_equal(searched(parts), quantiles_of(np.concatenate(parts, axis=1), QUANTILES))
