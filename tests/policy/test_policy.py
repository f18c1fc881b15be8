"""The policy: a checkpoint folder in, absolute actions out, with noise that depends on nothing but its seed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.model.n1d6.family import FAMILY
from groot_ray.model.n1d6.processor import Processor
from groot_ray.model.shared.weights import save_network
from groot_ray.policy.load import choose_tag, inference_device, load_policy
from groot_ray.policy.policy import Policy, seeded_noise

HORIZON = 5
WIDTHS = {"arm": 3, "gripper": 1}
CONFIGS = {
    "video": {"modality_keys": ["front", "wrist"], "delta_indices": [0]},
    "state": {"modality_keys": ["arm", "gripper"], "delta_indices": [0]},
    "action": {
        "modality_keys": ["arm", "gripper"],
        "delta_indices": list(range(HORIZON)),
        "action_configs": [{"rep": "RELATIVE"}, {"rep": "ABSOLUTE"}],
    },
    "language": {"modality_keys": ["task"], "delta_indices": [0]},
}


def entry(low: float, high: float, *shape: int) -> dict[str, Any]:
    full = {"min": low, "max": high, "mean": (low + high) / 2, "std": (high - low) / 4, "q01": low, "q99": high}
    return {name: np.full(shape, value).tolist() for name, value in full.items()}


STATISTICS = {
    "state": {key: entry(-2, 2, width) for key, width in WIDTHS.items()},
    "action": {key: entry(-2, 2, width) for key, width in WIDTHS.items()},
    "relative_action": {"arm": entry(-0.1, 0.1, HORIZON, 3)},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    processor = Processor.new()
    processor.set_embodiment("NEW_EMBODIMENT", CONFIGS, STATISTICS)
    processor.save(folder)
    save_network(FAMILY.new_network("tiny", 1), folder)
    return folder


@pytest.fixture(scope="module")
def policy(checkpoint: Path) -> Policy:
    return load_policy(checkpoint, device="cpu")


def observations(batch: int) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    texts = ["pick up the cube", "transfer it to the left arm please, and wait", "go"]
    return {
        "video": {key: rng.integers(0, 255, (batch, 1, 64, 64, 3), dtype=np.uint8) for key in ("front", "wrist")},
        "state": {key: rng.normal(size=(batch, 1, width)).astype(np.float32) for key, width in WIDTHS.items()},
        "language": {"task": [[texts[i % 3]] for i in range(batch)]},
    }


def part(observation: dict[str, Any], rows: slice) -> dict[str, Any]:
    return {name: {key: value[rows] for key, value in values.items()} for name, values in observation.items()}


def test_actions_are_absolute_and_in_the_robot_s_units(policy: Policy) -> None:
    observation = observations(3)
    actions, info = policy.get_action(observation, seed=0)
    assert info == {}
    assert {key: (value.shape, value.dtype) for key, value in actions.items()} == {
        key: ((3, HORIZON, width), np.dtype(np.float32)) for key, width in WIDTHS.items()
    }
    moved = (
        actions["arm"] - observation["state"]["arm"]
    )  # within the range of relative actions around the current state
    assert 0 < np.abs(moved).max() <= 0.1 + 1e-6
    assert np.abs(actions["gripper"]).max() <= 2 + 1e-6
    assert (policy.tag, policy.action_dims, policy.action_horizon, policy.denoising_steps) == (
        "NEW_EMBODIMENT",
        4,
        HORIZON,
        4,
    )


def test_what_the_model_predicts_is_decoded_with_each_sample_s_own_state(policy: Policy) -> None:
    observation = observations(2)
    actions, _ = policy.get_action(observation, seed=[7, 8])
    for i in range(2):
        sample = {
            "images": {key: value[i] for key, value in observation["video"].items()},
            "state": {key: value[i] for key, value in observation["state"].items()},
            "language": observation["language"]["task"][i][0],
            "tag": "NEW_EMBODIMENT",
        }
        batch = policy.processor.collate([policy.processor.process(sample, train=False)])
        noise = torch.from_numpy(seeded_noise(7 + i, (50, 128)))[None]
        plain = policy.network.predict(batch, noise=noise)[0, :HORIZON].clamp(-1, 1).numpy()
        np.testing.assert_allclose(actions["arm"][i], sample["state"]["arm"] + 0.1 * plain[:, :3], atol=1e-6)
        np.testing.assert_allclose(actions["gripper"][i], 2 * plain[:, 3:4], atol=1e-6)


def test_same_seed_same_bits_whatever_the_batch(policy: Policy) -> None:
    observation = observations(3)
    seeds = [(1, 0, 16), (1, 0, 32), (1, 4, 0)]
    whole, _ = policy.get_action(observation, seed=seeds)
    again, _ = policy.get_action(observation, seed=seeds)
    pieces = [policy.get_action(part(observation, slice(i, i + 1)), seed=seeds[i : i + 1])[0] for i in range(3)]
    for key in whole:
        np.testing.assert_array_equal(whole[key], again[key])
        np.testing.assert_array_equal(whole[key], np.concatenate([piece[key] for piece in pieces]))


def test_other_seeds_other_noise(policy: Policy) -> None:
    observation = observations(2)
    first = policy.get_action(observation, seed=0)[0]["arm"]
    assert not np.array_equal(first, policy.get_action(observation, seed=1)[0]["arm"])
    drawn = [
        policy.get_action(observation, generator=torch.Generator().manual_seed(seed))[0]["arm"] for seed in (3, 3, 4)
    ]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert not np.array_equal(policy.get_action(observation)[0]["arm"], policy.get_action(observation)[0]["arm"])
    with pytest.raises(DataError, match="1 seeds for 2 observations"):
        policy.get_action(observation, seed=[1])


def test_noise_is_normal_and_tells_seeds_apart() -> None:
    noise = seeded_noise((0, 3, 16), (50, 128))
    assert noise.dtype == np.float32
    assert abs(float(noise.mean())) < 0.05
    assert abs(float(noise.std()) - 1) < 0.05
    for other in ((0, 3, 17), (0, 16, 3), (1, 3, 16), 0):
        assert not np.array_equal(noise, seeded_noise(other, (50, 128)))
    seeded_noise(-1, (2,))  # a negative seed is a seed too


def test_denoising_steps_and_other_weights(policy: Policy, checkpoint: Path) -> None:
    observation = observations(1)
    before = policy.get_action(observation, seed=0)[0]["arm"]
    assert not np.array_equal(
        before, load_policy(checkpoint, device="cpu", denoising_steps=1).get_action(observation, seed=0)[0]["arm"]
    )
    same = load_policy(checkpoint, device="cpu", network=FAMILY.new_network("tiny", 1)).get_action(observation, seed=0)[
        0
    ]["arm"]
    np.testing.assert_array_equal(before, same)
    assert not np.array_equal(
        before,
        load_policy(checkpoint, device="cpu", network=FAMILY.new_network("tiny", 2)).get_action(observation, seed=0)[0][
            "arm"
        ],
    )


def test_broken_observations_are_refused(policy: Policy) -> None:
    observation = observations(2)
    observation["state"]["arm"] = observation["state"]["arm"][..., :2]
    with pytest.raises(DataError, match="state 'arm' of tag NEW_EMBODIMENT has the shape .1, 2. instead of .1, 3."):
        policy.get_action(observation, seed=0)
    observation = observations(2)
    del observation["video"]["front"]
    with pytest.raises(DataError, match="no video 'front'"):
        policy.get_action(observation, seed=0)


def test_the_tag_is_chosen_or_asked_for(checkpoint: Path) -> None:
    assert choose_tag(None, ["GR1"], "here") == "GR1"
    assert choose_tag("gr1", ["GR1", "NEW_EMBODIMENT"], "here") == "GR1"
    with pytest.raises(ConfigurationError, match="name the embodiment tag .* it has GR1, NEW_EMBODIMENT"):
        choose_tag(None, ["GR1", "NEW_EMBODIMENT"], "here")
    with pytest.raises(ConfigurationError, match="was not trained for embodiment tag GR1; it has NEW_EMBODIMENT"):
        load_policy(checkpoint, "GR1", "cpu")
    with pytest.raises(ConfigurationError, match="no embodiment tag 'custom_robot'.*NEW_EMBODIMENT"):
        load_policy(checkpoint, "custom_robot", "cpu")


def test_folders_that_are_no_checkpoints(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a checkpoint: it has no config.json"):
        load_policy(tmp_path, device="cpu")
    shutil.copytree(checkpoint, tmp_path / "half")
    (tmp_path / "half" / "model.safetensors").unlink()
    with pytest.raises(DataError, match="no model.safetensors"):
        load_policy(tmp_path / "half", device="cpu")


def test_a_gpu_that_is_not_there_is_said() -> None:
    assert inference_device("cpu").type == "cpu"
    if not torch.cuda.is_available():
        with pytest.raises(ConfigurationError, match="torch sees no GPU"):
            inference_device("cuda")
