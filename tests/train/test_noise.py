from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from groot_ray.model.shared.flow import FlowNoise
from groot_ray.train.order.noise import dropout_seed, sample_generator

places = st.tuples(st.integers(-5, 2**40), st.integers(0, 10**6), st.integers(0, 4096))


@given(places, places)
def test_noise_follows_from_its_place_alone(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    flow = FlowNoise(3, 5)
    noise, time = flow.draw(sample_generator(*one, "noise")).values()
    again, time_again = flow.draw(sample_generator(*one, "noise")).values()
    assert np.array_equal(noise, again) and time == time_again
    elsewhere = flow.draw(sample_generator(*other, "noise"))["noise"]
    assert np.array_equal(noise, elsewhere) == (one == other)
    augmentation = flow.draw(sample_generator(*one, "augmentation"))["noise"]
    assert not np.array_equal(noise, augmentation)


def test_noise_is_normal_and_time_has_its_mass_near_noise() -> None:
    drawn = [FlowNoise(4, 8).draw(sample_generator(42, 7, position, "noise")).values() for position in range(4000)]
    noise = np.stack([n for n, _ in drawn])
    time = np.array([t for _, t in drawn])
    assert noise.dtype == np.float32 and time.dtype == np.float32
    assert abs(noise.mean()) < 0.01 and abs(noise.std() - 1) < 0.01
    assert abs(np.corrcoef(noise[:, 0, 0], noise[:, 0, 1])[0, 1]) < 0.05
    assert time.min() >= 0 and time.max() < 0.999
    # Beta(1.5, 1) has the distribution function u^1.5 and the mean 0.6.
    assert abs(time.mean() - 0.4 * 0.999) < 0.01
    assert abs(np.mean(time < 0.999 / 2) - (1 - 0.5**1.5)) < 0.02


def test_dropout_seeds_differ_everywhere() -> None:
    seeds = {dropout_seed(s, t, m, r) for s in range(3) for t in range(20) for m in range(3) for r in range(3)}
    assert len(seeds) == 3 * 20 * 3 * 3
    assert all(0 <= seed < 2**63 for seed in seeds)
