"""Observations in the nested form: accepted as the reference accepts them, refused in a sentence that names the key."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from groot_ray.errors import DataError
from groot_ray.model.shared.modality import parse_modality_configs
from groot_ray.policy.observation import split_observation


def config(keys: list[str], deltas: list[int]) -> dict[str, Any]:
    return {"modality_keys": keys, "delta_indices": deltas}


CONFIGS = parse_modality_configs(
    {
        "video": config(["front", "wrist"], [-1, 0]),
        "state": config(["arm", "gripper"], [0]),
        "action": config(["arm"], [0, 1, 2]),
        "language": config(["task"], [0]),
    },
    "a test",
)


def good(batch: int = 2) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "video": {
            key: rng.integers(0, 255, (batch, 2, 8, 8, 3), dtype=np.uint8) for key in ("front", "wrist", "unused")
        },
        "state": {
            "arm": rng.normal(size=(batch, 1, 6)).astype(np.float32),
            "gripper": np.zeros((batch, 1, 1), np.float32),
        },
        "language": {"task": [[f"task {i}"] for i in range(batch)]},
    }


def test_a_batch_is_cut_into_samples() -> None:
    observation = good(3)
    samples = split_observation(observation, CONFIGS, "GR1")
    assert len(samples) == 3
    assert list(samples[1]["images"]) == ["front", "wrist"]
    np.testing.assert_array_equal(samples[1]["images"]["wrist"], observation["video"]["wrist"][1])
    np.testing.assert_array_equal(samples[2]["state"]["arm"], observation["state"]["arm"][2])
    assert [s["language"] for s in samples] == ["task 0", "task 1", "task 2"]
    assert samples[0]["action"] is None
    assert samples[0]["tag"] == "GR1"


def _set(part: str, key: str, value: Any) -> Any:
    def change(observation: dict[str, Any]) -> None:
        observation[part][key] = value

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda o: o.pop("state"), "'state' is missing in the observation"),
        (lambda o: o["video"].pop("wrist"), "no video 'wrist'"),
        (
            lambda o: o["state"].update(grippers=o["state"].pop("gripper")),
            "no state 'gripper' .did you mean 'grippers'",
        ),
        (_set("video", "wrist", np.zeros((2, 2, 8, 8, 3), np.float32)), "video 'wrist' is float32 .2, 2, 8, 8, 3."),
        (_set("video", "front", np.zeros((2, 8, 8, 3), np.uint8)), "video 'front' is uint8 .2, 8, 8, 3."),
        (
            _set("video", "front", np.zeros((2, 2, 3, 8, 8), np.uint8)),
            "must be uint8 .batch, frames, height, width, 3.",
        ),
        (_set("video", "front", np.zeros((0, 2, 8, 8, 3), np.uint8)), "video 'front' is empty"),
        (
            _set("video", "wrist", np.zeros((2, 1, 8, 8, 3), np.uint8)),
            "has 1 frames per sample, but the checkpoint takes 2",
        ),
        (_set("video", "wrist", np.zeros((1, 2, 8, 8, 3), np.uint8)), "has 1 samples, but the first camera has 2"),
        (_set("state", "arm", np.zeros((2, 1, 6))), "state 'arm' is float64"),
        (_set("state", "arm", [[0.0] * 6]), "state 'arm' is list"),
        (_set("state", "arm", np.zeros((2, 6), np.float32)), r"must be float32 .batch, frames, dims."),
        (_set("state", "arm", np.zeros((3, 1, 6), np.float32)), "state 'arm' has 3 samples"),
        (_set("language", "task", ["a", "b"]), "one list of one text per sample"),
        (_set("language", "task", [["a"]]), "language 'task' has 1 samples"),
        (_set("language", "task", "pick"), "language 'task' must be"),
    ],
)
def test_mistakes_are_named(change: Any, sentence: str) -> None:
    observation = good()
    change(observation)
    with pytest.raises(DataError, match=sentence):
        split_observation(observation, CONFIGS, "GR1")


def test_something_else_is_no_observation() -> None:
    with pytest.raises(DataError, match="a map of video, state and language, not list"):
        split_observation([], CONFIGS, "GR1")  # type: ignore[arg-type]
