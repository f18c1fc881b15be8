"""Names, units and reality of predicted dimensions, with and without a description of the robot."""

from __future__ import annotations

import pytest

from groot_ray.dataset.groot.modality import parse_modality
from groot_ray.embodiment import load_embodiment
from groot_ray.embodiment.modality import modality_configs, modality_json
from groot_ray.errors import DataError
from groot_ray.evaluate.layout import ActionLayout, action_layout


def layout_of(preset: str) -> ActionLayout:
    embodiment = load_embodiment(preset)
    keys = modality_configs(embodiment)["action"]["modality_keys"]
    return action_layout(keys, parse_modality(modality_json(embodiment), "modality.json"), embodiment)


@pytest.mark.parametrize(
    ("preset", "dims", "real"),
    [("aloha", 14, 14), ("aloha_gr1", 29, 14), ("aloha_gr1_full", 29, 14), ("trossen_mobile", 16, 16)],
)
def test_presets(preset: str, dims: int, real: int) -> None:
    layout = layout_of(preset)
    assert (layout.dims, len(layout.real)) == (dims, real)
    assert len(layout.names) == len(layout.units) == len(layout.kinds) == dims
    assert len(set(layout.names)) == dims
    assert sorted(c for key in layout.keys for c in layout.columns(key)) == list(range(dims))


def test_padding_copies_and_constants_are_not_real() -> None:
    layout = layout_of("aloha_gr1_full")
    assert layout.keys == ("left_arm", "left_hand", "right_arm", "right_hand", "waist")
    assert layout.columns("left_arm", real_only=True) == [0, 1, 2, 3, 4, 5]  # the seventh is padding
    assert layout.columns("left_hand", real_only=True) == [7]  # six copies of one gripper
    assert layout.columns("waist", real_only=True) == []  # constant zeros
    assert layout.component(7) == "left_hand"
    assert (layout.names[0], layout.units[0]) == ("left_arm.waist", "rad")


def test_velocities_are_known() -> None:
    layout = layout_of("trossen_mobile")
    assert layout.kinds[:3] == ("velocity", "velocity", "position")
    assert layout.units[:3] == ("m/s", "rad/s", "rad")


def test_without_a_description_names_come_from_the_features() -> None:
    modality = parse_modality(
        {"action": {"arm": {"start": 0, "end": 2}, "gripper": {"start": 2, "end": 3}}}, "modality.json"
    )
    named = action_layout(
        ["arm", "gripper"], modality, None, {"action": {"names": {"motors": ["j0", "j1", "gripper"]}}}
    )
    assert named.names == ("arm.j0", "arm.j1", "gripper")
    assert named.real == (0, 1, 2)
    assert action_layout(["arm", "gripper"], modality).names == ("arm.0", "arm.1", "gripper")


def test_a_description_of_other_widths_is_not_used() -> None:
    modality = parse_modality({"action": {"left_arm": {"start": 0, "end": 5}}}, "modality.json")
    layout = action_layout(["left_arm"], modality, load_embodiment("aloha_gr1"))
    assert layout.names == tuple(f"left_arm.{i}" for i in range(5))
    assert layout.real == tuple(range(5))


def test_a_key_that_the_dataset_lacks_is_named() -> None:
    modality = parse_modality({"action": {"left_arm": {"start": 0, "end": 5}}}, "modality.json")
    with pytest.raises(DataError, match="no action key 'left_arms'.*did you mean 'left_arm'"):
        action_layout(["left_arms"], modality)
