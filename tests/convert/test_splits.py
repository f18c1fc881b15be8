"""Splitting episodes into the parts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groot_ray.convert.splits import split_episodes
from groot_ray.errors import ConfigurationError
from groot_ray.experiment.schema import SplitOptions

counts = st.integers(0, 12)
shares = st.floats(0.05, 0.6)
some = counts | shares


@settings(deadline=None)
@given(total=st.integers(1, 40), train=st.none() | some, validation=some, test=some, seed=st.none() | st.integers(0, 5))
def test_parts_are_disjoint_and_complete(total: int, train, validation, test, seed) -> None:
    options = SplitOptions(train=train, validation=validation, test=test, seed=seed)
    episodes = list(range(100, 100 + total))
    try:
        splits = split_episodes(episodes, options)
    except ConfigurationError:
        return
    pools = (splits.train, splits.validation, splits.test, splits.unused)
    assert sorted(index for pool in pools for index in pool) == episodes
    assert all(list(pool) == sorted(pool) for pool in pools)
    assert splits.train
    for asked, pool in ((validation, splits.validation), (test, splits.test)):
        assert len(pool) == (asked if isinstance(asked, int) else max(1, int(asked * total + 0.5)))
    if train is None:
        assert not splits.unused
    elif isinstance(train, int):
        assert len(splits.train) in (train, train - len(splits.validation))
    assert split_episodes(episodes, options) == splits


def parts(total: int, **options) -> tuple[list[int], ...]:
    splits = split_episodes(range(total), SplitOptions(**options))
    return tuple(list(pool) for pool in (splits.train, splits.validation, splits.test, splits.unused))


def test_the_in_house_report() -> None:
    """25 episodes, 19 for training, 5 for testing: one is in no part."""
    assert parts(25, train=19, test=5) == (list(range(19)), [], list(range(19, 24)), [24])
    assert parts(25, train=19, test=5, validation=1) == (list(range(19)), [24], list(range(19, 24)), [])


def test_validation_is_cut_from_train_where_none_is_left() -> None:
    assert parts(25, train=20, test=5, validation=3) == (list(range(17)), [17, 18, 19], list(range(20, 25)), [])
    assert parts(4, validation=1, test=1) == ([0, 1], [2], [3], [])


def test_shares() -> None:
    assert parts(10, train=0.8, test=0.2) == (list(range(8)), [], [8, 9], [])
    assert parts(25, train=0.9, test=0.1)[3] == []
    assert parts(4, train=0.5, test=0.1) == ([0, 1], [], [2], [3])


def test_a_seed_shuffles_and_no_seed_keeps_the_order() -> None:
    one, two, other = (parts(30, test=10, seed=seed) for seed in (1, 1, 2))
    assert one == two != other
    assert one[2] != list(range(20, 30)) and parts(30, test=10)[2] == list(range(20, 30))


def test_gaps_in_the_numbers_of_the_source_stay() -> None:
    splits = split_episodes([3, 5, 9], SplitOptions(test=1))
    assert splits.train == (3, 5) and splits.test == (9,)


@pytest.mark.parametrize(
    "options",
    [
        {"train": 5},
        {"test": 4},
        {"train": 3, "test": 2},
        {"train": 0.8, "test": 0.5},
        {"train": 1, "validation": 2, "test": 2},
    ],
)
def test_more_than_there_are(options: dict) -> None:
    with pytest.raises(ConfigurationError, match="more than 4 episodes allow"):
        parts(4, **options)
