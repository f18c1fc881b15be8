"""Forwards against a slow obvious version, backwards as its inverse, and which dimensions are real."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groot_ray.embodiment import Embodiment, load_embodiment, preset_names
from groot_ray.embodiment.dimensions import dim_names, dim_units, real_dims
from groot_ray.embodiment.mapping import map_columns, to_robot
from groot_ray.errors import ConfigurationError, DataError


@st.composite
def embodiments(draw) -> Embodiment:
    """Robots with one to five components in any order over one column, of all ways of filling."""
    components, at = [], 0
    for number in range(draw(st.integers(1, 5))):
        way = draw(st.sampled_from(["none", "pad", "replicate", "zeros"]))
        key = f"part_{number}"
        if way == "zeros":
            components.append({"key": key, "dims": draw(st.integers(1, 4))})
            continue
        width = 1 if way == "replicate" else draw(st.integers(1, 4))
        dims = width if way == "none" else width + draw(st.integers(0, 4))
        component = {"key": key, "start": at, "end": at + width, "dims": dims, "expand": way}
        component["recover"] = draw(st.sampled_from(["first", "mean"]))
        components.append(component)
        at += width
    if at == 0:
        components.append({"key": "real", "start": 0, "end": 2})
    order = draw(st.permutations(components))
    return Embodiment.model_validate(
        {"name": "robot", "cameras": [{"key": "front", "source": "front"}], "state": order, "action": order}
    )


def width_of(embodiment: Embodiment) -> int:
    return max(c.end or 0 for c in embodiment.action)


def slow_map(embodiment: Embodiment, row: list[float]) -> list[float]:
    out = []
    for c in embodiment.action:
        values = row[c.start : c.end] if c.start is not None else []
        while len(values) < c.dims:
            values = [*values, values[0] if c.expand == "replicate" else 0.0]
        out.extend(values)
    return out


def split(embodiment: Embodiment, vector: np.ndarray) -> dict[str, np.ndarray]:
    parts, at = {}, 0
    for c in embodiment.action:
        if c.train:
            parts[c.key] = vector[..., at : at + c.dims]
        at += c.dims
    return parts


@settings(max_examples=80, deadline=None)
@given(embodiments(), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_forwards_and_backwards(embodiment, rows, seed):
    robot = np.random.default_rng(seed).normal(size=(rows, width_of(embodiment))).astype(np.float32)
    vector = map_columns(embodiment, "action", {"action": robot})
    assert vector.dtype == np.float32
    np.testing.assert_array_equal(vector, np.asarray([slow_map(embodiment, row) for row in robot.tolist()], np.float32))
    back = to_robot(embodiment, split(embodiment, vector))["action"]
    np.testing.assert_allclose(back, robot, atol=1e-6)
    # A batch of chunks keeps its leading axes.
    chunk = to_robot(embodiment, {key: part[None] for key, part in split(embodiment, vector).items()})["action"]
    assert chunk.shape == (1, *robot.shape)


@settings(max_examples=50, deadline=None)
@given(embodiments())
def test_real_dims_are_those_that_change_with_the_robot(embodiment):
    width = width_of(embodiment)
    base = map_columns(embodiment, "action", {"action": np.zeros((1, width), np.float32)})[0]
    firsts = []
    for dim in range(width):
        robot = np.zeros((1, width), np.float32)
        robot[0, dim] = 1
        firsts.append(int(np.flatnonzero(map_columns(embodiment, "action", {"action": robot})[0] != base)[0]))
    assert real_dims(embodiment, "action") == sorted(firsts)
    assert len(dim_names(embodiment, "action")) == len(dim_units(embodiment, "action")) == embodiment.action_dim
    assert len(set(dim_names(embodiment, "action"))) == embodiment.action_dim


@pytest.mark.parametrize("preset", ["aloha", "aloha_gr1", "aloha_gr1_full"])
def test_aloha_has_fourteen_real_dims_whatever_it_is_mapped_to(preset):
    embodiment = load_embodiment(preset)
    names = dim_names(embodiment, "action")
    real = [names[i] for i in real_dims(embodiment, "action")]
    assert len(real) == 14
    assert not any("padding" in name or "copy" in name for name in real)
    assert [name.split(".")[-1] for name in real[:6]] == [
        "waist",
        "shoulder",
        "elbow",
        "forearm_roll",
        "wrist_angle",
        "wrist_rotate",
    ]
    assert real_dims(embodiment, "action", ["right_arm"]) == [0, 1, 2, 3, 4, 5]


def test_a_replicated_gripper_comes_back_from_its_first_or_the_mean():
    hand = np.array([[0.2, 0.4, 0.6, 0.8, 1.0, 1.2]], np.float32)
    for recover, expected in (("first", 0.2), ("mean", 0.7)):
        data = load_embodiment("aloha_gr1_full").to_json()
        for component in data["action"]:
            component["recover"] = recover
        embodiment = load_embodiment(data)
        values = {c.key: np.zeros((1, c.dims), np.float32) for c in embodiment.action if c.train}
        values["left_hand"] = hand
        assert to_robot(embodiment, values)["action"][0, 6] == pytest.approx(expected)


def test_dimensions_that_no_trained_component_covers_are_not_commands():
    data = load_embodiment("aloha").to_json()
    data["action"][1]["train"] = False  # the left gripper
    embodiment = load_embodiment(data)
    values = {c.key: np.ones(c.dims, np.float32) for c in embodiment.action if c.train}
    commands = to_robot(embodiment, values)["action"]
    assert np.isnan(commands[6]) and np.isfinite(np.delete(commands, 6)).all()
    assert to_robot(embodiment, values, fill=0.5)["action"][6] == 0.5


def test_components_may_come_from_several_columns():
    embodiment = Embodiment.model_validate(
        {
            "name": "robot",
            "cameras": [{"key": "front", "source": "front"}],
            "state": [
                {"key": "arm", "column": "observation.arm", "start": 0, "end": 2},
                {"key": "gripper", "column": "observation.gripper", "start": 0, "end": 1},
            ],
            "action": [{"key": "arm", "column": "action.arm", "start": 0, "end": 2}],
            "language": {"key": "annotation.text", "source": "annotation.instruction"},
        }
    )
    assert embodiment.source_columns() == [
        "observation.arm",
        "observation.gripper",
        "action.arm",
        "annotation.instruction",
    ]
    state = map_columns(
        embodiment, "state", {"observation.arm": np.ones((3, 2)), "observation.gripper": np.full(3, 0.5)}
    )
    np.testing.assert_array_equal(state, [[1, 1, 0.5]] * 3)
    assert set(to_robot(embodiment, {"arm": np.zeros((4, 2))})) == {"action.arm"}


def test_wrong_columns_are_named():
    embodiment = load_embodiment("aloha_gr1")
    good = np.zeros((3, 14), np.float32)
    with pytest.raises(DataError, match=r"episode 7: column 'action'.*is missing \(did you mean 'actions'\?\)"):
        map_columns(embodiment, "action", {"actions": good}, where="episode 7")
    with pytest.raises(
        DataError, match="'observation.state' has 13 dimensions, but embodiment 'aloha_gr1' describes 14"
    ):
        map_columns(embodiment, "state", {"observation.state": good[:, :13]})
    with pytest.raises(DataError, match="has 16 dimensions.*ignore_extra_dims"):
        map_columns(embodiment, "state", {"observation.state": np.zeros((3, 16))})
    with pytest.raises(DataError, match="different numbers of rows: action 3, observation.state 2"):
        map_columns(embodiment, "action", {"action": good, "observation.state": good[:2]})
    for value in (np.nan, np.inf):
        bad = good.copy()
        bad[2, 13] = value
        with pytest.raises(DataError, match=r"episode 7: .*at row 2, dimension 13 \(right_hand.gripper\)"):
            map_columns(embodiment, "state", {"observation.state": bad}, where="episode 7")


def test_extra_dims_may_be_left_out_on_demand():
    wide = np.arange(16, dtype=np.float32)[None]
    embodiment = load_embodiment({"preset": "aloha", "ignore_extra_dims": True})
    np.testing.assert_array_equal(map_columns(embodiment, "state", {"observation.state": wide}), wide[:, :14])


def test_wrong_actions_are_named():
    embodiment = load_embodiment("trossen_mobile")
    good = {c.key: np.zeros((16, c.dims)) for c in embodiment.action}
    with pytest.raises(ConfigurationError, match="'left_arm'.*is missing"):
        to_robot(embodiment, {key: value for key, value in good.items() if key != "left_arm"})
    with pytest.raises(ConfigurationError, match=r"'left_arm' has shape \[16, 6\]"):
        to_robot(embodiment, {**good, "left_arm": np.zeros((16, 6))})
    with pytest.raises(ConfigurationError, match=r"'leftarm'.*did you mean 'left_arm'"):
        to_robot(embodiment, {**good, "leftarm": np.zeros((16, 7))})
    with pytest.raises(ConfigurationError, match="'head' is not one of the action components"):
        dim_names(embodiment, "action", ["head"])


def test_all_presets_round_trip_the_robots_commands():
    for name in preset_names():
        embodiment = load_embodiment(name)
        robot = np.random.default_rng(1).normal(size=(20, width_of(embodiment))).astype(np.float32)
        parts = split(embodiment, map_columns(embodiment, "action", {"action": robot}))
        np.testing.assert_array_equal(to_robot(embodiment, parts)["action"], robot)
