"""Which frames a sample takes, against an obvious version, and the reference's shards and order, number by number."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ray.dataset.groot.samples import effective_length, frame_indices
from groot_ray.dataset.groot.shards import schedule, shard_episodes, shard_lengths
from groot_ray.errors import ConfigurationError


def action(deltas):
    return {"action": {"delta_indices": list(deltas), "modality_keys": ["arm"]}}


@given(st.integers(0, 60), st.integers(1, 20), st.integers(-3, 3))
def test_dropping_keeps_exactly_the_steps_with_a_complete_chunk(length, horizon, first):
    deltas = list(range(first, first + horizon))
    whole = [s for s in range(length) if s + horizon - 1 < length]
    assert effective_length(length, action(deltas)) == len(whole)
    assert effective_length(length, action(deltas), tail="mask") == length


@given(st.integers(0, 30), st.lists(st.integers(-5, 20), min_size=1, max_size=8), st.integers(1, 31))
def test_frames_outside_are_the_nearest_inside_and_marked(step, deltas, length):
    indices, valid = frame_indices(step, deltas, length)
    for delta, index, inside in zip(deltas, indices, valid, strict=True):
        assert index == min(max(step + delta, 0), length - 1)
        assert inside == (0 <= step + delta < length)


def test_an_action_without_deltas_is_rejected():
    with pytest.raises(ConfigurationError, match="no action delta_indices"):
        effective_length(10, {"action": {"delta_indices": []}})


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=8),
    st.integers(1, 30),
    st.sampled_from([0.1, 0.25, 0.5, 1.0]),
    st.integers(0, 5),
)
def test_shards_hold_every_step_once_and_are_even(lengths, shard_size, rate, seed):
    shards = shard_episodes(lengths, shard_size, rate, seed)
    held = sorted((episode, int(step)) for shard in shards for episode, steps in shard for step in steps)
    assert held == [(episode, step) for episode, length in enumerate(lengths) for step in range(length)]
    assert len(shards) == -(-sum(lengths) // shard_size)
    if shards:
        largest_part = -(-max(lengths) // int(1 / rate))
        assert max(shard_lengths(shards)) - min(shard_lengths(shards)) <= largest_part


def test_the_references_shards_and_order(shared_dir):
    fixture = json.loads((shared_dir / "fixtures/groot_n1d6/data/shards.json").read_text())
    shards = shard_episodes(fixture["effective_lengths"], shard_size=20, episode_sampling_rate=0.1, seed=42)
    assert [[[episode, steps.tolist()] for episode, steps in shard] for shard in shards] == fixture["shards"]
    assert shard_lengths(shards) == fixture["shard_lengths"]
    entries = schedule([len(shards)], [1.0], len(fixture["schedule"]), seed=42, epoch=0)
    assert [list(entry) for entry in entries] == fixture["schedule"]


def test_a_datasets_shards_are_used_up_before_they_repeat():
    entries = schedule([5, 3], [0.7, 0.3], 200, seed=1)
    for dataset, count in ((0, 5), (1, 3)):
        drawn = [shard for d, shard in entries if d == dataset]
        for start in range(0, len(drawn) - count + 1, count):
            assert sorted(drawn[start : start + count]) == list(range(count))
    assert entries != schedule([5, 3], [0.7, 0.3], 200, seed=1, epoch=1)
