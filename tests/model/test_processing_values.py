"""Normalization of state and action values: against the reference's numbers, a slow version, and back again."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from recorded import DATA, modality_configs, part, recording, statistics_of

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.model.shared.modality import parse_modality_configs
from groot_ray.model.shared.normalization import MeanStd, MinMax, SinCos, min_max
from groot_ray.model.shared.rotation import relative_pose
from groot_ray.model.shared.state_action import StateActionTransform, Switches
from groot_ray.model.shared.transform import Signal, Values

_floats = st.floats(-100, 100, width=32)
_block = arrays(np.float32, (6, 3), elements=_floats)
REFERENCE = recording()


def _recorded_transform(**options: Any) -> StateActionTransform:
    kwargs = json.loads((DATA / "processor" / "processor_config.json").read_text())["processor_kwargs"]
    statistics = json.loads((DATA / "processor" / "statistics.json").read_text())["new_embodiment"]
    configs = parse_modality_configs(kwargs["modality_configs"]["new_embodiment"], "the recording")
    return StateActionTransform("NEW_EMBODIMENT", configs, statistics, Switches(**options))


def encode_state(transform: StateActionTransform, state: Values) -> np.ndarray:
    return transform.state(Signal(state)).joined


def encode_action(transform: StateActionTransform, action: Values, state: Values) -> np.ndarray:
    return transform.action(Signal(action, state)).joined


def decode_action(transform: StateActionTransform, action: np.ndarray, states: Values | None) -> dict[str, np.ndarray]:
    values = action[..., : transform.action_horizon, :]
    return dict(transform.action.inverse(Signal(values, states)).by_key)


def test_state_equals_the_reference_to_the_last_bit() -> None:
    transform = _recorded_transform()
    state = encode_state(transform, transform.check_state(part(REFERENCE, "raw_state")))
    np.testing.assert_array_equal(state, REFERENCE["eval.state"][:, : transform.state_dim])
    assert not REFERENCE["eval.state"][:, transform.state_dim :].any()


def test_action_equals_the_reference_to_the_last_bit() -> None:
    transform = _recorded_transform()
    state = transform.check_state(part(REFERENCE, "raw_state"))
    action = encode_action(transform, part(REFERENCE, "raw_action"), state)
    expected = REFERENCE["train.action"][: transform.action_horizon, : transform.action_dim]
    np.testing.assert_array_equal(action, expected)


def test_decoded_action_equals_the_reference() -> None:
    transform = _recorded_transform()
    states = {key: value[None] for key, value in part(REFERENCE, "raw_state").items()}
    decoded = decode_action(transform, REFERENCE["train.action"][None], states)
    for key, expected in part(REFERENCE, "decoded_action").items():
        assert decoded[key].dtype == np.float32
        np.testing.assert_allclose(decoded[key], expected, atol=1e-6, rtol=0)


@given(_block)
def test_min_max_against_a_slow_version(values: np.ndarray) -> None:
    statistics = statistics_of(values)
    scaled = min_max(statistics, "a test").encode(values)
    assert scaled.dtype == np.float32
    for (row, column), value in np.ndenumerate(values):
        low, high = statistics["min"][column], statistics["max"][column]
        if abs(high - low) <= 1e-8 + 1e-5 * abs(low):
            assert scaled[row, column] == 0
        else:
            assert abs(scaled[row, column] - max(-1.0, min(1.0, 2 * (float(value) - low) / (high - low) - 1))) < 1e-6


@given(_block, _block)
def test_min_max_clips_only_when_asked(recorded: np.ndarray, values: np.ndarray) -> None:
    low, high = recorded.min(0).astype(np.float64), recorded.max(0).astype(np.float64) + 1.0
    clipped, free = MinMax(low, high).encode(values), MinMax(low, high, clip=False).encode(values)
    np.testing.assert_array_equal(clipped, np.clip(free, -1, 1))


@given(_block)
def test_every_scaling_goes_back(values: np.ndarray) -> None:
    spread = np.maximum(np.abs(values).max(0).astype(np.float64), 1.0)
    for scaling in (MinMax(-spread, spread), MeanStd(values.mean(0).astype(np.float64), spread)):
        np.testing.assert_allclose(scaling.decode(scaling.encode(values)), values, atol=2e-5)
    angles = np.mod(values, np.float32(3.0))
    np.testing.assert_allclose(SinCos(3).decode(SinCos(3).encode(angles)), angles, atol=1e-6)


def test_a_dimension_without_deviation_stays_as_it_is() -> None:
    scaling = MeanStd(np.array([5.0, 1.0]), np.array([0.0, 2.0]))
    np.testing.assert_array_equal(scaling.encode(np.array([[3.0, 3.0]], dtype=np.float32)), [[3.0, 1.0]])
    np.testing.assert_array_equal(scaling.decode(np.array([[3.0, 1.0]])), [[3.0, 3.0]])


def test_percentiles_replace_min_and_max_but_not_of_relative_actions() -> None:
    normal, percentiles = _recorded_transform(), _recorded_transform(use_percentiles=True)
    statistics = json.loads((DATA / "processor" / "statistics.json").read_text())["new_embodiment"]
    by_key = {k.key: k.scaling for k in percentiles.state_keys} | {
        f"a.{k.key}": k.scaling for k in percentiles.action_keys
    }
    np.testing.assert_array_equal(by_key["eef"].low, statistics["state"]["eef"]["q01"])
    np.testing.assert_array_equal(by_key["a.gripper"].high, statistics["action"]["gripper"]["q99"])
    np.testing.assert_array_equal(by_key["a.arm"].low, statistics["relative_action"]["arm"]["min"])
    assert normal.state_dim == percentiles.state_dim == 17


def test_switches_of_the_processor() -> None:
    plain = _recorded_transform(sin_cos_states=False, relative_actions=False)
    assert plain.state_dim == 14 and all(k.reference is None for k in plain.action_keys)
    state = plain.check_state(part(REFERENCE, "raw_state"))
    decoded = decode_action(plain, encode_action(plain, part(REFERENCE, "raw_action"), state), None)
    for key, raw in part(REFERENCE, "raw_action").items():
        np.testing.assert_allclose(decoded[key], raw, atol=1e-6)


_REPRESENTATIONS = [
    {"rep": "ABSOLUTE"},
    {"rep": "DELTA"},
    {"rep": "RELATIVE"},
    {"rep": "RELATIVE", "state_key": "other"},
    {"rep": "RELATIVE", "type": "EEF", "format": "XYZ_ROT6D"},
    {"rep": "RELATIVE", "type": "EEF", "format": "XYZ_ROTVEC"},
]


@pytest.mark.parametrize("mean_std", [False, True])
@pytest.mark.parametrize("representation", _REPRESENTATIONS, ids=lambda r: "-".join(r.values()))
@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_encoding_and_decoding_are_inverse(representation: dict, mean_std: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    dims = {"XYZ_ROT6D": 9, "XYZ_ROTVEC": 6}.get(representation.get("format", ""), 4)
    chunks, states = _random_poses(rng, (30, 8, dims)), _random_poses(rng, (30, 1, dims))
    reference = representation.get("state_key", "arm")
    relative = chunks - states if "type" not in representation else relative_pose(chunks, states[:, 0])
    statistics = {
        "state": {reference: statistics_of(states[:, 0])},
        "action": {"arm": statistics_of(chunks.reshape(-1, dims))},
        "relative_action": {"arm": statistics_of(relative)},
    }
    if mean_std:  # z-scores are clipped to [-1, 1] too, so widen them to see all values come back
        for part_ in ("action", "relative_action"):
            statistics[part_]["arm"]["std"] = (np.array(statistics[part_]["arm"]["std"]) * 10 + 1).tolist()
    configs = modality_configs([reference], ["arm"], actions=[representation], mean_std=["arm"] if mean_std else None)
    transform = StateActionTransform("T", parse_modality_configs(configs, "a test"), statistics)
    encoded = []
    for chunk, state in zip(chunks, states, strict=True):
        encoded.append(encode_action(transform, {"arm": chunk}, transform.check_state({reference: state})))
    assert np.abs(encoded).max() <= 1
    batch = np.pad(np.stack(encoded), ((0, 0), (0, 42), (0, 128 - dims)))
    decoded = decode_action(transform, batch, {reference: states})["arm"]
    assert decoded.shape == chunks.shape
    np.testing.assert_allclose(decoded, chunks, atol=2e-5)


def _random_poses(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    values = rng.uniform(-1, 1, shape)
    if shape[-1] == 9:
        from groot_ray.model.shared.rotation import matrix_to_rot6d, rot6d_to_matrix

        values[..., 3:] = matrix_to_rot6d(rot6d_to_matrix(values[..., 3:] + [1, 0, 0, 0, 1, 0]))
    return values.astype(np.float32)


def test_relative_actions_start_from_the_last_state_frame() -> None:
    configs = modality_configs(["arm"], ["arm"], horizon=2, actions=[{"rep": "RELATIVE"}])
    configs["state"]["delta_indices"] = [-1, 0]
    wide = {"min": [-10.0], "max": [10.0], "mean": [0.0], "std": [1.0]}
    by_step = {name: [value, value] for name, value in wide.items()}
    statistics = {"state": {"arm": wide}, "action": {"arm": wide}, "relative_action": {"arm": by_step}}
    transform = StateActionTransform("T", parse_modality_configs(configs, "a test"), statistics)
    state = transform.check_state({"arm": np.array([[1.0], [3.0]], dtype=np.float32)})
    action = encode_action(transform, {"arm": np.array([[4.0], [5.0]], dtype=np.float32)}, state)
    np.testing.assert_allclose(action[:, 0], [0.1, 0.2], atol=1e-7)
    assert encode_state(transform, state).shape == (2, 1)


def test_z_scores_of_actions_are_clipped_and_those_of_states_are_not() -> None:
    configs = modality_configs(["arm"], ["arm"], horizon=1, mean_std=["arm"])
    configs["state"]["mean_std_embedding_keys"] = ["arm"]
    one = {"min": [-1.0], "max": [1.0], "mean": [0.0], "std": [0.5]}
    transform = StateActionTransform(
        "T", parse_modality_configs(configs, "a test"), {"state": {"arm": one}, "action": {"arm": one}}
    )
    value = {"arm": np.array([[2.0]], dtype=np.float32)}
    assert encode_state(transform, transform.check_state(value)).item() == 4.0
    assert encode_action(transform, value, value).item() == 1.0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s.pop("eef"), "state 'eef' of tag NEW_EMBODIMENT is missing; there are 'arm', 'gripper', 'const'"),
        (
            lambda s: s.update(arm=s["arm"][:, :2]),
            r"state 'arm' of tag NEW_EMBODIMENT has the shape \[1, 2\] instead of \[1, 3\]",
        ),
        (lambda s: s.update(arm=s["arm"][0]), r"shape \[3\] instead of \[1, 3\]"),
        (
            lambda s: s["arm"].__setitem__((0, 1), np.nan),
            "state 'arm' of tag NEW_EMBODIMENT is not finite .* in dims 1",
        ),
        (lambda s: s["arm"].__setitem__((0, 2), np.inf), "not finite .* in dims 2"),
    ],
)
def test_a_broken_state_is_told_in_a_sentence(change: Any, sentence: str) -> None:
    state = {key: value.copy() for key, value in part(REFERENCE, "raw_state").items()}
    change(state)
    with pytest.raises(DataError, match=sentence):
        _recorded_transform().check_state(state)


def test_a_broken_action_is_told_in_a_sentence() -> None:
    transform = _recorded_transform()
    state, action = transform.check_state(part(REFERENCE, "raw_state")), part(REFERENCE, "raw_action")
    with pytest.raises(
        DataError, match=r"action 'gripper' of tag NEW_EMBODIMENT has the shape \[5, 1\] instead of \[8, 1\]"
    ):
        encode_action(transform, {**action, "gripper": action["gripper"][:5]}, state)
    with pytest.raises(DataError, match="so it needs the raw state 'arm'"):
        decode_action(transform, np.zeros((1, 50, 128), np.float32), None)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s["state"].pop("eef"),
         "no statistics of state 'eef' of tag NEW_EMBODIMENT; make them with `groot-ray stats`"),
        (lambda s: s.pop("relative_action"), "no statistics of relative_action 'arm'"),
        (lambda s: s["action"]["gripper"].pop("min"),
         "statistics of action 'gripper' of tag NEW_EMBODIMENT have no 'min'"),
        (lambda s: s["action"]["gripper"].update(min=[float("nan")]),
         "'min' in the statistics of action 'gripper' .* finite"),
        (lambda s: s["state"]["eef"].update(min=[0.0]), "differ in size"),
        (lambda s: [s["relative_action"]["arm"].update({k: v[:6]}) for k, v in s["relative_action"]["arm"].items()],
         "are for 6 steps but its action horizon is 8"),
    ],
)  # fmt: skip
def test_statistics_that_do_not_fit_are_told_in_a_sentence(change: Any, sentence: str) -> None:
    kwargs = json.loads((DATA / "processor" / "processor_config.json").read_text())["processor_kwargs"]
    statistics = json.loads((DATA / "processor" / "statistics.json").read_text())["new_embodiment"]
    statistics = copy.deepcopy(statistics)
    change(statistics)
    configs = parse_modality_configs(kwargs["modality_configs"]["new_embodiment"], "the recording")
    with pytest.raises(DataError, match=sentence):
        StateActionTransform("NEW_EMBODIMENT", configs, statistics)


def test_a_relative_action_of_another_width_than_its_state_is_refused() -> None:
    configs = parse_modality_configs(modality_configs(["arm"], ["arm"], actions=[{"rep": "RELATIVE"}]), "a test")
    three, two = statistics_of(np.zeros((4, 3))), statistics_of(np.zeros((4, 8, 2)))
    with pytest.raises(ConfigurationError, match="has 2 dims but state 'arm', which it is RELATIVE to, has 3"):
        StateActionTransform("T", configs, {"state": {"arm": three}, "relative_action": {"arm": two}})
