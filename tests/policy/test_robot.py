"""A live frame is treated as training frames were, a live state is mapped as in conversion, and actions come back."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from groot_ray.embodiment import Embodiment, load_embodiment
from groot_ray.embodiment.images import CameraImage, write_images
from groot_ray.embodiment.mapping import to_robot
from groot_ray.embodiment.modality import modality_configs
from groot_ray.errors import ConfigurationError, DataError
from groot_ray.model.n1d6.family import FAMILY
from groot_ray.model.shared.weights import save_network
from groot_ray.policy.load import load_robot_policy
from groot_ray.policy.robot import observation
from groot_ray.video.transform import fit_frame


def observe(embodiment: Embodiment, state, frames, size: int = 256):
    images = {camera.key: CameraImage(size, size, camera.fit) for camera in embodiment.cameras}
    return observation(embodiment, images, state, frames, "hand over the cube")


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)


@pytest.mark.parametrize("fit", ["crop", "letterbox", "stretch"])
@pytest.mark.parametrize("name", ["top", "observation.images.top"])
def test_frames_get_the_cameras_own_treatment(image, fit, name):
    embodiment = load_embodiment(
        {"preset": "aloha", "cameras": [{"key": "top", "source": "observation.images.top", "fit": fit}]}
    )
    seen = observe(embodiment, np.zeros(14, np.float32), {name: image}, size=224)
    assert seen["video"]["top"].shape == (1, 1, 224, 224, 3)
    np.testing.assert_array_equal(seen["video"]["top"][0, 0], fit_frame(image, 224, fit))
    assert seen["language"] == {"task": [["hand over the cube"]]}


def test_state_is_mapped_and_only_trained_parts_are_given(image):
    embodiment = load_embodiment("aloha_gr1_full")
    state = np.arange(14, dtype=np.float32)
    seen = observe(embodiment, state, {"ego_view": image})["state"]
    assert {key: part.shape for key, part in seen.items()} == {
        "left_arm": (1, 1, 7),
        "left_hand": (1, 1, 6),
        "right_arm": (1, 1, 7),
        "right_hand": (1, 1, 6),
        "waist": (1, 1, 3),
    }
    np.testing.assert_array_equal(seen["right_hand"][0, 0], np.full(6, 13))
    by_name = observe(embodiment, {"observation.state": state}, {"ego_view": image})["state"]
    np.testing.assert_array_equal(by_name["left_arm"], seen["left_arm"])
    assert all(part.dtype == np.float32 for part in seen.values())


def test_missing_or_odd_inputs_are_named(image):
    embodiment = load_embodiment("trossen_mobile")
    frames = {"cam_high": image, "cam_left_wrist": image, "cam_right_wrist": image}
    with pytest.raises(DataError, match="camera 'cam_left_wrist'.*did you mean 'cam_left_wrst'"):
        observe(embodiment, np.zeros(19), {"cam_high": image, "cam_left_wrst": image, "cam_right_wrist": image})
    with pytest.raises(DataError, match=r"camera 'cam_high' gave float64 \[480, 640, 3\]"):
        observe(embodiment, np.zeros(19), {**frames, "cam_high": image / 255})
    with pytest.raises(DataError, match="live state: column 'observation.state' has 18 dimensions"):
        observe(embodiment, np.zeros(18), frames)


def test_a_frame_is_never_resized_by_guess(image):
    embodiment = load_embodiment("aloha_gr1")
    unknown = {"ego_view": CameraImage(240, 320, None)}
    with pytest.raises(DataError, match="480 x 640 pixels; the checkpoint was trained on 240 x 320"):
        observation(embodiment, unknown, np.zeros(14), {"ego_view": image}, "go")
    same = observation(embodiment, unknown, np.zeros(14), {"ego_view": image[:240, :320]}, "go")
    np.testing.assert_array_equal(same["video"]["ego_view"][0, 0], image[:240, :320])


STATISTIC = {"min": -2.0, "max": 2.0, "mean": 0.0, "std": 1.0, "q01": -2.0, "q99": 2.0}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of ALOHA in GR1's dimensions, which records the robot and its images as training does."""
    folder = tmp_path_factory.mktemp("checkpoint")
    robot = load_embodiment("aloha_gr1")
    configs = modality_configs(robot)
    statistics: dict = {"state": {}, "action": {}, "relative_action": {}}
    for part in ("state", "action"):
        for c in robot.components(part, trained=True):
            statistics[part][c.key] = {name: [value] * c.dims for name, value in STATISTIC.items()}
            rows = {name: [[value] * c.dims] * robot.action_horizon for name, value in STATISTIC.items()}
            statistics["relative_action"][c.key] = rows
    relative = {
        key
        for key, config in zip(configs["action"]["modality_keys"], configs["action"]["action_configs"], strict=True)
        if config["rep"] == "RELATIVE"
    }
    statistics["relative_action"] = {key: statistics["relative_action"][key] for key in relative}
    processor = FAMILY.new_processor(FAMILY.new_config("tiny"), FAMILY.tokenizer_source("tiny"))
    processor.set_embodiment(robot.tag, configs, statistics)
    processor.save(folder)
    save_network(FAMILY.new_network("tiny", 1), folder)
    (folder / "embodiment.json").write_text(json.dumps(robot.to_json()))
    write_images(folder, {camera.key: CameraImage(224, 224, camera.fit) for camera in robot.cameras})
    return folder


def test_a_checkpoint_answers_in_the_robot_s_own_columns(checkpoint: Path, image):
    policy = load_robot_policy(checkpoint, device="cpu")
    state = np.linspace(-1, 1, 14).astype(np.float32)
    actions = policy.get_action(state, {"ego_view": image}, "hand over the cube", seed=3)
    assert {name: (values.shape, values.dtype) for name, values in actions.items()} == {
        "action": ((16, 14), np.dtype(np.float32))
    }
    inner, _ = policy.policy.get_action(policy.observe(state, {"ego_view": image}, "hand over the cube"), seed=3)
    expected = to_robot(policy.embodiment, {key: values[0] for key, values in inner.items()})["action"]
    np.testing.assert_array_equal(actions["action"], expected)
    assert np.isfinite(actions["action"]).all()
    assert policy.observe(state, {"ego_view": image}, "go")["video"]["ego_view"].shape == (1, 1, 224, 224, 3)


def test_a_checkpoint_of_an_earlier_version_needs_the_resolution(checkpoint: Path, tmp_path: Path, caplog):
    old = tmp_path / "old"
    shutil.copytree(checkpoint, old)
    (old / "images.json").unlink()
    with pytest.raises(
        ConfigurationError, match="does not record the size of camera 'ego_view'.*conversion.resolution"
    ):
        load_robot_policy(old, device="cpu")
    with caplog.at_level(logging.WARNING):
        policy = load_robot_policy(old, device="cpu", resolution=224)
    assert "224 pixels and the embodiment's fit 'crop'" in caplog.text
    assert policy.images == load_robot_policy(checkpoint, device="cpu").images
    with pytest.raises(ConfigurationError, match="224 x 224 pixels from camera 'ego_view', not 256 x 256"):
        load_robot_policy(checkpoint, device="cpu", resolution=256)


def test_the_robot_is_the_checkpoint_s_or_given(checkpoint: Path, tmp_path: Path):
    old = tmp_path / "old"
    shutil.copytree(checkpoint, old)
    (old / "embodiment.json").unlink()
    with pytest.raises(ConfigurationError, match="does not describe its robot.*name its embodiment"):
        load_robot_policy(old, device="cpu")
    assert load_robot_policy(old, device="cpu", embodiment="aloha_gr1").embodiment == load_embodiment("aloha_gr1")
    with pytest.raises(ConfigurationError, match="differs from the given one"):
        load_robot_policy(checkpoint, device="cpu", embodiment="aloha")
    with pytest.raises(ConfigurationError, match="video keys are ego_view, but embodiment 'trossen_mobile'"):
        load_robot_policy(old, device="cpu", embodiment="trossen_mobile")
