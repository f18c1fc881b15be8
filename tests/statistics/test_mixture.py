"""Merged statistics of a mixture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from groot_ray.statistics.mixture import merge_statistics
from groot_ray.statistics.moments import Moments
from groot_ray.statistics.percentiles import quantiles_of


def statistics(rows: np.ndarray) -> dict:
    low, high = quantiles_of(rows.T, (0.01, 0.99))
    moments = Moments.of(rows)
    found = {"mean": moments.mean, "std": moments.std, "min": moments.low, "max": moments.high, "q01": low, "q99": high}
    return {name: values.tolist() for name, values in found.items()}


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(2, 50), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_weights_by_size_give_the_moments_of_all_rows(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    members = [rng.normal(rng.normal(), 1, (size, 3)).astype(np.float32) for size in sizes]
    merged = merge_statistics([statistics(member) for member in members], sizes)
    whole = statistics(np.concatenate(members))
    for name in ("mean", "std", "min", "max"):
        np.testing.assert_allclose(merged[name], whole[name], rtol=1e-9, atol=1e-9)
    for name, outer in (("q01", np.min), ("q99", np.max)):
        np.testing.assert_array_equal(merged[name], outer([statistics(member)[name] for member in members], axis=0))


def test_the_scale_of_the_weights_does_not_matter() -> None:
    members = [statistics(np.random.default_rng(i).normal(i, 1 + i, (40, 2)).astype(np.float32)) for i in range(2)]
    one, two = merge_statistics(members, [0.25, 0.75]), merge_statistics(members, [10, 30])
    np.testing.assert_allclose(one["mean"], two["mean"])
    np.testing.assert_allclose(
        one["mean"], 0.25 * np.asarray(members[0]["mean"]) + 0.75 * np.asarray(members[1]["mean"])
    )


def test_reference_fixture_of_one_dataset(shared_dir: Path) -> None:
    """The reference merged one dataset at weight 1: state, action and relative action are unchanged."""
    root = shared_dir / "fixtures/groot_n1d6"
    merged = json.loads((root / "data/statistics_merged.json").read_text())["new_embodiment"]
    stats = json.loads((root / "dataset/meta/stats.json").read_text())
    relative = json.loads((root / "dataset/meta/relative_stats.json").read_text())
    modality = json.loads((root / "dataset/meta/modality.json").read_text())
    checked = 0
    for part, column in (("state", "observation.state"), ("action", "action")):
        for key, expected in merged[part].items():
            cut = slice(modality[part][key]["start"], modality[part][key]["end"])
            ours = merge_statistics([{name: values[cut] for name, values in stats[column].items()}], [1.0])
            for name in expected:
                np.testing.assert_allclose(ours[name], expected[name], atol=1e-6)
                checked += 1
    for key, expected in merged["relative_action"].items():
        ours = merge_statistics([relative[key]], [1.0])
        for name in expected:
            np.testing.assert_allclose(ours[name], expected[name], atol=1e-6)
            checked += 1
    assert checked > 20
