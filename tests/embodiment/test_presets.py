"""The presets are what the three published recipes say, number by number."""

from __future__ import annotations

import numpy as np
import pytest

from groot_ray.embodiment import load_embodiment, preset_names
from groot_ray.embodiment.dimensions import dim_names, dim_units
from groot_ray.embodiment.load import to_yaml
from groot_ray.embodiment.mapping import map_columns
from groot_ray.embodiment.modality import modality_configs, modality_json
from groot_ray.errors import ConfigurationError

ARM = ["waist", "shoulder", "elbow", "forearm_roll"]


def spans(slices: dict) -> dict[str, tuple[int, int]]:
    return {key: (entry["start"], entry["end"]) for key, entry in slices.items()}


def representations(name: str) -> dict[str, str]:
    action = modality_configs(load_embodiment(name))["action"]
    return {key: config["rep"] for key, config in zip(action["modality_keys"], action["action_configs"], strict=True)}


def test_all_presets_load_and_survive_json_and_yaml(tmp_path):
    assert preset_names() == ["aloha", "aloha_gr1", "aloha_gr1_full", "trossen_mobile"]
    for name in preset_names():
        embodiment = load_embodiment(name)
        assert load_embodiment(embodiment.to_json()) == embodiment
        file = tmp_path / f"{name}.yaml"
        file.write_text(to_yaml(embodiment))
        assert load_embodiment(file) == embodiment


def test_aloha_gr1_has_the_reports_29_dims():
    embodiment = load_embodiment("aloha_gr1")
    expected = {
        "left_arm": (0, 7),
        "left_hand": (7, 13),
        "right_arm": (13, 20),
        "right_hand": (20, 26),
        "waist": (26, 29),
    }
    modality = modality_json(embodiment)
    assert spans(modality["state"]) == spans(modality["action"]) == expected
    assert modality["video"] == {"ego_view": {"original_key": "ego_view"}}
    assert "annotation" not in modality
    assert embodiment.tag == "GR1"
    robot = np.arange(1, 15, dtype=np.float32)[None]
    left, right = [1, 2, 3, 4, 5, 6, 0], [8, 9, 10, 11, 12, 13, 0]
    vector = [*left, 7, 0, 0, 0, 0, 0, *right, 14, 0, 0, 0, 0, 0, 0, 0, 0]
    assert map_columns(embodiment, "action", {"action": robot, "observation.state": robot}).tolist() == [vector]
    assert map_columns(embodiment, "state", {"observation.state": robot}).tolist() == [vector]
    assert representations("aloha_gr1") == {
        "left_arm": "RELATIVE",
        "left_hand": "ABSOLUTE",
        "right_arm": "RELATIVE",
        "right_hand": "ABSOLUTE",
        "waist": "ABSOLUTE",
    }


def test_aloha_gr1_full_has_the_guides_44_columns_and_trains_29():
    embodiment = load_embodiment("aloha_gr1_full")
    expected = {
        "left_arm": (0, 7),
        "left_hand": (7, 13),
        "left_leg": (13, 19),
        "neck": (19, 22),
        "right_arm": (22, 29),
        "right_hand": (29, 35),
        "right_leg": (35, 41),
        "waist": (41, 44),
    }
    modality = modality_json(embodiment)
    assert spans(modality["state"]) == spans(modality["action"]) == expected
    # The guide's own code, dimension by dimension.
    aloha = np.linspace(-1, 1, 14).astype(np.float32)
    groot = np.zeros(44, np.float32)
    groot[0:6] = aloha[0:6]
    groot[7:13] = np.full(6, aloha[6])
    groot[22:28] = aloha[7:13]
    groot[29:35] = np.full(6, aloha[13])
    np.testing.assert_array_equal(map_columns(embodiment, "state", {"observation.state": aloha[None]})[0], groot)
    configs = modality_configs(embodiment)
    trained = ["left_arm", "left_hand", "right_arm", "right_hand", "waist"]
    assert configs["state"]["modality_keys"] == configs["action"]["modality_keys"] == trained
    assert sum(end - start for key, (start, end) in expected.items() if key in trained) == 29
    assert configs["action"]["delta_indices"] == list(range(16))
    assert representations("aloha_gr1_full") == representations("aloha_gr1")


def test_aloha_keeps_its_14_dims():
    embodiment = load_embodiment("aloha")
    robot = np.random.default_rng(0).normal(size=(5, 14)).astype(np.float32)
    np.testing.assert_array_equal(map_columns(embodiment, "state", {"observation.state": robot}), robot)
    assert spans(modality_json(embodiment)["action"]) == {
        "left_arm": (0, 6),
        "left_gripper": (6, 7),
        "right_arm": (7, 13),
        "right_gripper": (13, 14),
    }
    assert embodiment.tag == "NEW_EMBODIMENT"


def test_trossen_mobile_is_the_reports_robot():
    embodiment = load_embodiment("trossen_mobile")
    modality = modality_json(embodiment)
    assert modality == {
        "state": {
            "base_odom": {"start": 0, "end": 3},
            "base_vel": {"start": 3, "end": 5},
            "left_arm": {"start": 5, "end": 12},
            "right_arm": {"start": 12, "end": 19},
        },
        "action": {
            "base_vel": {"start": 0, "end": 2},
            "left_arm": {"start": 2, "end": 9},
            "right_arm": {"start": 9, "end": 16},
        },
        "video": {
            camera: {"original_key": f"observation.images.{camera}"}
            for camera in ("cam_high", "cam_left_wrist", "cam_right_wrist")
        },
    }
    assert (embodiment.state_dim, embodiment.action_dim) == (19, 16)
    assert representations("trossen_mobile") == {
        "base_vel": "ABSOLUTE",
        "left_arm": "RELATIVE",
        "right_arm": "RELATIVE",
    }
    joints = [*ARM, "wrist_pitch", "wrist_roll", "gripper"]
    assert dim_names(embodiment, "action") == ["base_vel.lin_vel", "base_vel.ang_vel"] + [
        f"{side}_arm.{joint}" for side in ("left", "right") for joint in joints
    ]
    assert dim_units(embodiment, "action")[:4] == ["m/s", "rad/s", "rad", "rad"]
    assert embodiment.kinds("action") == ["velocity"] * 2 + ["position"] * 14
    assert modality_configs(embodiment)["language"]["modality_keys"] == ["task"]


@pytest.mark.parametrize("preset", ["aloha", "aloha_gr1", "aloha_gr1_full", "trossen_mobile"])
@pytest.mark.parametrize("tag", ["GR1", "NEW_EMBODIMENT", "UNITREE_G1", "OXE_DROID", "unitree_g1"])
def test_the_tag_is_an_option_of_every_preset(preset, tag):
    assert load_embodiment(preset, tag).tag == tag.upper()


def test_an_unknown_tag_is_answered_with_the_list():
    with pytest.raises(ConfigurationError, match=r"custom_robot.*NEW_EMBODIMENT.*GR1"):
        load_embodiment("trossen_mobile", "custom_robot")


def test_a_preset_may_be_the_base_of_a_description():
    embodiment = load_embodiment({"preset": "aloha", "name": "my_aloha", "action_horizon": 8})
    assert (embodiment.name, embodiment.action_horizon, embodiment.state_dim) == ("my_aloha", 8, 14)
