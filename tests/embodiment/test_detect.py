"""Descriptions proposed from real datasets' names."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from groot_ray.dataset import features as feature_rules
from groot_ray.dataset.source.formats import open_source
from groot_ray.embodiment import load_embodiment
from groot_ray.embodiment.detect import limb, propose_embodiment, snake
from groot_ray.embodiment.load import to_yaml
from groot_ray.embodiment.modality import modality_configs
from groot_ray.errors import DataError
from groot_ray.storage import open_location

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def source_of(state, action, cameras=("observation.images.front",), widths=(None, None), robot="robot"):
    def feature(names, width):
        return {"dtype": "float32", "shape": [width if names is None else len(names)], "names": names}

    features = {"observation.state": feature(state, widths[0]), "action": feature(action, widths[1])}
    features |= {camera: {"dtype": "video", "shape": [480, 640, 3]} for camera in cameras}
    return SimpleNamespace(
        robot_type=robot,
        features=features,
        cameras=list(cameras),
        feature_names=lambda column: feature_rules.dimension_names(features, column),
        width=lambda column: feature_rules.width(features, column),
    )


def spans(components):
    return {c.key: (c.start, c.end) for c in components}


def test_aloha_is_found_as_the_preset_has_it(aloha_dataset):
    proposed = propose_embodiment(open_source(open_location(aloha_dataset)))
    preset = load_embodiment("aloha")
    assert spans(proposed.state) == spans(preset.state) and spans(proposed.action) == spans(preset.action)
    assert modality_configs(proposed) == modality_configs(preset)
    assert proposed.state[0].names == preset.state[0].names


def test_the_unitree_g1_is_found_as_its_example_has_it(shared_dir, tmp_path):
    proposed = propose_embodiment(open_source(open_location(shared_dir / "data" / "g1_pick_bottle")))
    example = load_embodiment(EXAMPLES / "embodiments" / "unitree_g1_pick_bottle.yaml")
    assert modality_configs(proposed) == modality_configs(example)
    assert [c.names for c in proposed.action] == [c.names for c in example.action]
    file = tmp_path / "robot.yaml"
    file.write_text(to_yaml(proposed))
    assert load_embodiment(file) == proposed


def test_a_mobile_robot_has_a_base_and_its_velocity_is_absolute():
    arms = [f"{side}_{joint}" for side in ("left", "right") for joint in ("waist", "shoulder", "gripper")]
    base = ["odom_x", "odom_y", "odom_theta", "lin_vel", "ang_vel"]
    proposed = propose_embodiment(source_of([*base, *arms], ["lin_vel", "ang_vel", *arms]))
    assert spans(proposed.action) == {
        "base_vel": (0, 2),
        "left_arm": (2, 4),
        "left_gripper": (4, 5),
        "right_arm": (5, 7),
        "right_gripper": (7, 8),
    }
    chosen = {c.key: (c.representation, c.kind) for c in proposed.action}
    assert chosen["base_vel"] == ("ABSOLUTE", "velocity")
    assert chosen["left_arm"] == ("RELATIVE", "position")
    assert chosen["left_gripper"] == ("ABSOLUTE", "position")


def test_columns_without_names_are_one_component():
    proposed = propose_embodiment(source_of(None, None, widths=(9, 9)))
    assert spans(proposed.state) == spans(proposed.action) == {"joints": (0, 9)}
    assert proposed.action[0].representation == "RELATIVE"
    assert propose_embodiment(source_of(None, None, widths=(9, 7))).action[0].representation == "ABSOLUTE"


def test_interleaved_limbs_stay_in_their_order():
    names = ["left_shoulder", "right_shoulder", "left_elbow", "right_elbow"]
    assert spans(propose_embodiment(source_of(names, names)).state) == {
        "left_arm": (0, 1),
        "right_arm": (1, 2),
        "left_arm_2": (2, 3),
        "right_arm_2": (3, 4),
    }


def test_cameras_get_short_keys_that_differ():
    same_end = ("observation.images.left.rgb", "observation.images.right.rgb")
    assert [c.key for c in propose_embodiment(source_of(["a"], ["a"], same_end)).cameras] == ["left_rgb", "right_rgb"]
    assert [c.key for c in propose_embodiment(source_of(["a"], ["a"], ("observation.images.top",))).cameras] == ["top"]


@pytest.mark.parametrize(
    "name,expected",
    [
        ("kLeftShoulderPitch", "left_arm"),
        ("kRightHandThumbBend", "right_hand"),
        ("left_gripper", "left_gripper"),
        ("gripper", "gripper"),
        ("left_hip_pitch", "left_leg"),
        ("head_yaw", "neck"),
        ("linear_velocity", "base_vel"),
        ("shoulder_pan.pos", "arm"),
        ("right_ring", "right_hand"),
        ("l_elbow", "left_arm"),
        ("whatever", "joints"),
    ],
)
def test_limbs_by_name(name, expected):
    assert limb(snake(name)) == expected


def test_what_cannot_be_proposed_is_reported():
    with pytest.raises(DataError, match="no camera"):
        propose_embodiment(source_of(["a"], ["a"], ()))
    bare = source_of(["a"], ["a"])
    del bare.features["action"]
    with pytest.raises(DataError, match="no column 'action'"):
        propose_embodiment(bare)
