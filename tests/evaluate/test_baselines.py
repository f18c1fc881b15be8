"""Holding the current pose, by kind of component."""

from __future__ import annotations

import numpy as np
import pytest

from groot_ray.evaluate.baselines import hold_pose
from groot_ray.evaluate.layout import ActionLayout

LAYOUT = ActionLayout(
    keys=("arm", "gripper", "base"),
    widths=(2, 1, 1),
    names=("arm.0", "arm.1", "gripper", "base"),
    units=("",) * 4,
    kinds=("position", "position", "position", "velocity"),
    real=(0, 1, 2, 3),
)


@pytest.fixture
def episode() -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    state = {"arm": rng.normal(size=(7, 2)), "base": rng.normal(size=(7, 1)), "hand": rng.normal(size=(7, 1))}
    return state, rng.normal(size=(7, 4)).astype(np.float32)


def test_each_kind_of_component(episode: tuple[dict[str, np.ndarray], np.ndarray]) -> None:
    state, truth = episode
    held = hold_pose(LAYOUT, None, state, truth, [0, 3, 6], 3)
    for frame in range(7):
        start = frame // 3 * 3
        assert held[frame, :2] == pytest.approx(state["arm"][start])  # the state at the frame of inference
        assert held[frame, 2] == (truth[start - 1, 2] if start else 0.0)  # no state called gripper: the last action
        assert held[frame, 3] == 0.0  # a velocity, although there is a state called base


def test_the_configured_state_key_is_used(episode: tuple[dict[str, np.ndarray], np.ndarray]) -> None:
    state, truth = episode
    configs = [{"state_key": None}, {"state_key": "hand"}, {"state_key": None}]
    held = hold_pose(LAYOUT, configs, state, truth, [0, 3, 6], 3)
    assert held[4, 2] == pytest.approx(state["hand"][3, 0])


def test_a_state_of_another_width_is_not_the_action_s_pose(episode: tuple[dict[str, np.ndarray], np.ndarray]) -> None:
    state, truth = episode
    held = hold_pose(LAYOUT, None, {**state, "arm": np.ones((7, 3))}, truth, [0, 3, 6], 3)
    assert held[:3, :2] == pytest.approx(0.0)
    assert held[3:6, :2] == pytest.approx(np.repeat(truth[2:3, :2], 3, axis=0))
