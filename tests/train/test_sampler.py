from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.train.order.permutation import permute
from groot_ray.train.order.sampler import BatchPlan, SampleOrder, step_draws


@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
@settings(max_examples=60, deadline=None)
def test_a_permutation_holds_each_number_once(n: int, key: int) -> None:
    assert sorted(permute(np.arange(n), n, key)) == list(range(n))


@given(st.integers(1, 10**12), st.integers(0, 2**64 - 1), st.data())
@settings(max_examples=40, deadline=None)
def test_single_elements_equal_those_of_a_block(n: int, key: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, n - 1))
    block = permute(np.arange(first, min(first + 7, n)), n, key)
    alone = [int(permute(np.array([i]), n, key)[0]) for i in range(first, min(first + 7, n))]
    assert block.tolist() == alone
    assert all(0 <= i < n for i in alone)


def test_permutations_look_shuffled() -> None:
    n = 10_000
    order = permute(np.arange(n), n, 1)
    assert abs(np.corrcoef(np.arange(n), order)[0, 1]) < 0.05
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.05
    counts = np.bincount(order[: n // 2] // (n // 20), minlength=20)  # half of the draws cover all parts equally
    assert counts.min() > 200 and counts.max() < 300
    assert np.mean(order == permute(np.arange(n), n, 2)) < 0.01


lengths = st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(lambda values: sum(values) > 0)


@given(lengths, st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_each_pass_draws_every_sample_once(lengths: list[int], seed: int) -> None:
    order = SampleOrder(lengths, seed)
    every = [(e, s) for e, n in enumerate(lengths) for s in range(n)]
    for number in range(2):
        episodes, starts = order.samples(number * order.size, order.size)
        assert sorted(zip(episodes.tolist(), starts.tolist(), strict=True)) == every


@given(lengths, st.integers(0, 100), st.integers(1, 50), st.integers(1, 5), st.integers(1, 4), st.integers(0, 30))
@settings(max_examples=100, deadline=None)
def test_workers_and_micro_batches_do_not_change_what_a_step_sees(
    lengths: list[int], seed: int, batch: int, workers: int, accumulation: int, step: int
) -> None:
    order = SampleOrder(lengths, seed)
    if batch < workers * accumulation:
        with pytest.raises(ConfigurationError, match="global_batch_size"):
            BatchPlan(batch, workers, accumulation)
        return
    plan = BatchPlan(batch, workers, accumulation)
    dealt = [step_draws(order, plan, step, rank, micro) for micro in range(accumulation) for rank in range(workers)]
    sizes = {len(piece) for piece in dealt}
    assert max(sizes) - min(sizes) <= 1
    flat = [draw for piece in dealt for draw in piece]
    assert [draw.position for draw in flat] == list(range(batch))
    assert flat == step_draws(order, BatchPlan(batch, 1, 1), step, 0, 0)


def test_the_seed_changes_the_order_and_a_pass_does_too() -> None:
    one, other = SampleOrder([50, 50], 1), SampleOrder([50, 50], 2)
    first = np.stack(one.samples(0, 100))
    assert not np.array_equal(first, np.stack(other.samples(0, 100)))
    assert not np.array_equal(first, np.stack(one.samples(100, 100)))
    assert np.array_equal(first, np.stack(SampleOrder([50, 50], 1).samples(0, 100)))


def test_no_sample_is_an_error_with_advice() -> None:
    with pytest.raises(DataError, match="action horizon"):
        SampleOrder([0, 0], 1)


def test_the_log_names_the_references_reading() -> None:
    assert "64 samples" in BatchPlan(64, 4, 2).describe()
    assert "it would have 128" in BatchPlan(64, 4, 2).describe()
    assert "launcher" not in BatchPlan(64, 4, 1).describe()
