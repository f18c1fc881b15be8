"""Relative action chunks: which exist, and their content."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groot_ray.errors import ConfigurationError
from groot_ray.model.shared.rotation import matrix_to_rot6d, matrix_to_rotvec, rotvec_to_matrix
from groot_ray.statistics import relative
from groot_ray.statistics.relative import RelativeAction, relative_actions


def configs(deltas: list[int], state_deltas: list[int], **config: str) -> dict:
    entry = {"rep": "RELATIVE", "type": "NON_EEF", "format": "DEFAULT", "state_key": None, **config}
    return {
        "state": {"delta_indices": state_deltas, "modality_keys": ["arm"]},
        "action": {
            "delta_indices": deltas,
            "modality_keys": ["arm", "hand"],
            "action_configs": [entry, {**entry, "rep": "ABSOLUTE"}],
        },
    }


def chunks_of(key: RelativeAction, action: np.ndarray, state: np.ndarray) -> np.ndarray:
    """All chunks float32 [n, H, D] of an episode [T, D]."""
    blocks = list(key.blocks(np.ascontiguousarray(action.T), np.ascontiguousarray(state.T)))
    assert all(
        block.dtype == np.float32 and block.flags.c_contiguous and block.shape[1] <= relative.ROWS for block in blocks
    )
    columns = np.concatenate(blocks, axis=1) if blocks else np.zeros((len(key.deltas) * action.shape[1], 0))
    return columns.reshape(len(key.deltas), action.shape[1], -1).transpose(2, 0, 1)


@settings(max_examples=50, deadline=None)
@given(length=st.integers(1, 60), horizon=st.integers(1, 20), stride=st.integers(1, 2), rows=st.integers(1, 64))
def test_chunks_against_the_slow_obvious_way(length: int, horizon: int, stride: int, rows: int) -> None:
    rng = np.random.default_rng(length)
    action, state = rng.normal(size=(length, 3)).astype(np.float32), rng.normal(size=(length, 3)).astype(np.float32)
    deltas = list(range(0, horizon * stride, stride))
    (key,) = relative_actions(configs(deltas, [0]))
    expected = [
        [action[i + delta] - state[i] for delta in deltas] for i in range(length) if i + deltas[-1] <= length - 1
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relative, "ROWS", rows)
        found = chunks_of(key, action, state)
    assert len(found) == max(0, length - deltas[-1])
    if expected:
        np.testing.assert_array_equal(found, np.asarray(expected, np.float32))


def test_the_reference_is_the_last_state_frame() -> None:
    (key,) = relative_actions(configs([1, 2, 3], [-1, 0, 1]))
    action, state = np.arange(6, dtype=np.float32)[:, None], np.zeros((6, 1), np.float32)
    state[:, 0] = 10 * np.arange(6)
    chunks = chunks_of(key, action, state)
    np.testing.assert_array_equal(
        chunks[:, :, 0], [[1 - 10, 2 - 10, 3 - 10], [2 - 20, 3 - 20, 4 - 20], [3 - 30, 4 - 30, 5 - 30]]
    )


def test_poses_are_relative_rigid_transforms() -> None:
    rng = np.random.default_rng(3)
    turns, places = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    matrices = rotvec_to_matrix(turns)
    relative_turn, relative_place = matrices[0].T @ matrices[2], matrices[0].T @ (places[2] - places[0])
    for width, written in ((9, matrix_to_rot6d), (6, matrix_to_rotvec)):
        poses = np.concatenate([places, written(matrices)], axis=1).astype(np.float32)
        key = RelativeAction("eef", "eef", True, (0, 1, 2), 0)
        chunks = chunks_of(key, poses, poses)
        assert chunks.shape == (2, 3, width)
        expected = np.concatenate([relative_place, written(relative_turn[None])[0]])
        np.testing.assert_allclose(chunks[0, 2], expected, atol=1e-6)


def test_only_relative_keys_and_only_matching_steps() -> None:
    (key,) = relative_actions(configs([0, 1], [0], state_key="arm_measured"))
    assert (key.key, key.state_key, key.deltas) == ("arm", "arm_measured", (0, 1))
    assert relative_actions({"action": {"delta_indices": [0], "modality_keys": ["arm"], "action_configs": None}}) == []
    with pytest.raises(ConfigurationError, match=r"'arm' is RELATIVE.*\(0\), not 1"):
        relative_actions(configs([1, 2], [0]))
