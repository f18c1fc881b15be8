"""Predictions over recorded episodes: which frames are observed, how chunks are put together, and what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groot_ray.dataset.groot.dataset import GrootDataset
from groot_ray.embodiment.modality import modality_configs
from groot_ray.errors import ConfigurationError, DataError
from groot_ray.evaluate.baselines import hold_pose
from groot_ray.evaluate.predict import (
    check_fits,
    choose_episodes,
    layout_of,
    predict_trajectory,
    recorded_actions,
    recorded_states,
)


class Holder:
    """A policy that holds the state: it needs the right state of the right frame, and its answer is known."""

    tag = "GR1"

    def __init__(self, dataset: GrootDataset) -> None:
        assert dataset.embodiment is not None
        self.modality = modality_configs(dataset.embodiment)
        self.seeds: list[Any] = []
        self.seen: list[np.ndarray] = []

    def get_action(
        self, observation: Mapping[str, Any], options: Mapping[str, Any] | None = None, *, seed: Any = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        self.seeds += seed
        self.seen += list(observation["video"]["ego_view"][:, 0])
        assert observation["language"]["task"] == [
            ["Pick up the cube with the right arm and transfer it to the left arm."]
        ] * len(seed)
        return {key: np.repeat(values, 16, axis=1) for key, values in observation["state"].items()}, {}


@pytest.fixture(scope="module")
def dataset(converted_aloha: Path) -> GrootDataset:
    return GrootDataset(converted_aloha / "test")


@pytest.mark.parametrize(
    ("steps", "horizon", "batch"), [(None, 16, 8), (50, 16, 3), (50, 7, 2), (5, 16, 1), (9999, 16, 8)]
)
def test_chunks_are_put_together(dataset: GrootDataset, steps: int | None, horizon: int, batch: int) -> None:
    policy = Holder(dataset)
    found = predict_trajectory(policy, dataset, 0, steps=steps, action_horizon=horizon, seed=3, batch_size=batch)
    frames = min(steps or 160, 160)
    assert found.prediction.shape == found.truth.shape == (frames, 29)
    assert found.starts == tuple(range(0, frames, horizon))
    assert policy.seeds == [(3, 0, start) for start in found.starts]
    modality = policy.modality
    truth = recorded_actions(dataset, 0, modality, frames)
    states = recorded_states(dataset, 0, modality, frames)
    np.testing.assert_array_equal(found.truth, truth)
    expected = hold_pose(
        layout_of(dataset, modality), modality["action"]["action_configs"], states, truth, found.starts, horizon
    )
    np.testing.assert_array_equal(found.prediction, expected)


def test_pictures_are_those_of_the_frames_of_inference(dataset: GrootDataset) -> None:
    policy = Holder(dataset)
    found = predict_trajectory(policy, dataset, 0, steps=60, action_horizon=16, seed=0, batch_size=3)
    np.testing.assert_array_equal(np.stack(policy.seen), dataset.frames(0, "ego_view", found.starts))
    assert policy.seen[0].shape == (256, 256, 3)
    assert np.abs(policy.seen[0].astype(int) - policy.seen[-1].astype(int)).max() > 50  # the robot has moved


def test_recorded_actions_are_the_dataset_s(dataset: GrootDataset) -> None:
    import pandas as pd

    table = pd.read_parquet(dataset.data(0))
    recorded = recorded_actions(dataset, 0, Holder(dataset).modality, 20)
    np.testing.assert_array_equal(recorded, np.stack(table["action"].to_numpy())[:20])


def test_a_policy_that_answers_nan_is_an_error(dataset: GrootDataset) -> None:
    class Diverged(Holder):
        def get_action(self, *args: Any, **kwargs: Any) -> Any:
            actions, info = super().get_action(*args, **kwargs)
            actions["left_arm"][:, 2, 1] = np.nan
            return actions, info

    with pytest.raises(DataError, match="prediction at frame 2, dimension 1 is nan; its training has diverged"):
        predict_trajectory(Diverged(dataset), dataset, 0, steps=20, action_horizon=16, seed=0, batch_size=8)


def test_trajectories_are_named_by_their_number(dataset: GrootDataset) -> None:
    assert choose_episodes(dataset, None) == [0, 1]
    assert choose_episodes(dataset, [1, 1]) == [1]
    with pytest.raises(ConfigurationError, match="no trajectory 2, 7; it has 2, numbered 0 to 1"):
        choose_episodes(dataset, [0, 2, 7])


def test_what_does_not_fit_is_said_before_any_prediction(dataset: GrootDataset) -> None:
    modality = Holder(dataset).modality
    check_fits(dataset, modality, "GR1", 16)
    with pytest.raises(ConfigurationError, match="action_horizon 17 is more than the 16 steps"):
        check_fits(dataset, modality, "GR1", 17)
    other = {
        **modality,
        "video": {"modality_keys": ["cam_high"], "delta_indices": [0]},
        "state": {"modality_keys": ["left_arm", "base"], "delta_indices": [0]},
        "language": {"modality_keys": ["annotation.human.action"], "delta_indices": [0]},
    }
    with pytest.raises(DataError, match=r"has no video 'cam_high', state 'base', language 'annotation.human.action'"):
        check_fits(dataset, other, "GR1", 16)
    gaps = {**modality, "action": {**modality["action"], "delta_indices": [0, 2, 4]}}
    with pytest.raises(ConfigurationError, match="without gaps"):
        check_fits(dataset, gaps, "GR1", 2)
