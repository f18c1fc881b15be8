"""Every mistake in a description is told in a sentence that names the place."""

from __future__ import annotations

import subprocess
import sys

import pytest

from groot_ray.embodiment import load_embodiment
from groot_ray.embodiment.limits import check_limits
from groot_ray.embodiment.modality import modality_configs, modality_json
from groot_ray.errors import ConfigurationError
from groot_ray.model.family import Limits, default_family

ARM = {"key": "arm", "start": 0, "end": 6}


def described(**changes):
    base = {
        "name": "robot",
        "cameras": [{"key": "front", "source": "observation.images.front"}],
        "state": [ARM],
        "action": [{**ARM, "representation": "RELATIVE"}],
    }
    return {**base, **changes}


WRONG = {
    "unknown key": (described(acton_horizon=3), r"unknown key 'acton_horizon' \(did you mean 'action_horizon'\?\)"),
    "unknown key of a component": (
        described(state=[{**ARM, "nmaes": []}]),
        r"'state.0.nmaes' \(did you mean 'names'\?\)",
    ),
    "unknown key of a camera": (described(cameras=[{"key": "a", "source": "b", "fitt": "crop"}]), r"'fit'"),
    "missing part": ({"name": "robot"}, "'cameras' is missing"),
    "no camera": (described(cameras=[]), "cameras"),
    "horizon zero": (described(action_horizon=0), "'action_horizon'"),
    "state twice": (described(state=[ARM, {**ARM, "start": 6, "end": 7}]), "state component 'arm' is given twice"),
    "action twice": (described(action=[ARM, {**ARM, "start": 6, "end": 7}]), "action component 'arm' is given twice"),
    "camera twice": (
        described(cameras=[{"key": "a", "source": "x"}, {"key": "a", "source": "y"}]),
        "camera key 'a' is given twice",
    ),
    "one folder for two cameras": (
        described(cameras=[{"key": "a", "source": "x", "feature": "f"}, {"key": "b", "source": "y", "feature": "f"}]),
        "camera feature 'f' is given twice",
    ),
    "overlap": (
        described(state=[ARM, {"key": "gripper", "start": 5, "end": 7}]),
        r"'arm' \[0:6\] and 'gripper' \[5:7\] overlap in column 'observation.state'",
    ),
    "end before start": (described(state=[{"key": "arm", "start": 6, "end": 6, "dims": 1}]), "ends at 6"),
    "only a start": (described(state=[{"key": "arm", "start": 6, "dims": 1}]), "only one of start and end"),
    "zeros without dims": (described(state=[ARM, {"key": "waist"}]), "'state.1.dims' is missing"),
    "dims without a way to fill": (described(state=[{**ARM, "dims": 7}]), "6 source dimensions but dims 7"),
    "pad to fewer": (described(state=[{**ARM, "dims": 5, "expand": "pad"}]), "cannot pad 6"),
    "replicate many": (
        described(state=[{**ARM, "dims": 12, "expand": "replicate"}]),
        "only a single one can be replicated",
    ),
    "expand zeros": (described(state=[ARM, {"key": "waist", "dims": 3, "expand": "pad"}]), "expand must be none"),
    "too few names": (described(state=[{**ARM, "names": ["a", "b"]}]), "2 names for 6 source dimensions"),
    "too many units": (described(state=[{**ARM, "units": ["rad"] * 7}]), "7 units for 6 source dimensions"),
    "relative without state": (
        described(state=[{**ARM, "key": "arms"}]),
        r"RELATIVE but there is no state component 'arm' \(did you mean 'arms'\?\)",
    ),
    "state_key unknown": (
        described(action=[{**ARM, "representation": "RELATIVE", "state_key": "amr"}]),
        r"state_key 'amr', which is not a state component \(did you mean 'arm'\?\)",
    ),
    "relative to another width": (
        described(state=[{"key": "arm", "start": 0, "end": 7}]),
        "action 'arm' has 6 dims but the state 'arm' that it is RELATIVE to has 7",
    ),
    "relative to untrained": (
        described(state=[{**ARM, "train": False}, {"key": "b", "start": 6, "end": 7}]),
        "'arm', which is not trained",
    ),
    "relative to a velocity": (
        described(state=[{**ARM, "kind": "velocity"}]),
        "is a position but the state 'arm'.*velocity",
    ),
    "relative delta": (described(action=[{**ARM, "representation": "RELATIVE", "kind": "delta"}]), "already a delta"),
    "pose without format": (described(action=[{**ARM, "type": "EEF"}]), "XYZ_ROT6D"),
    "pose of another width": (described(action=[{**ARM, "type": "EEF", "format": "XYZ_ROT6D"}]), "needs 9 dims, not 6"),
    "format without pose": (described(action=[{**ARM, "format": "XYZ_ROTVEC"}]), "only for end-effector poses"),
    "nothing trained": (described(action=[{**ARM, "train": False}]), "no action component is trained"),
    "language": (described(language={"key": "instruction"}), "'language.key'"),
    "tag": (described(tag="robot9000"), "NEW_EMBODIMENT"),
}


@pytest.mark.parametrize("data,sentence", WRONG.values(), ids=WRONG.keys())
def test_mistakes(data, sentence):
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        load_embodiment(data)
    assert "\n" not in str(caught.value)


TOO_LARGE = {
    "horizon too long": (described(action_horizon=51), "'action_horizon'.*50"),
    "too many dims": (
        described(state=[ARM, {"key": "more", "start": 6, "end": 129}]),
        "129 dimensions, more than the model's 128",
    ),
    "too many dims by sine and cosine": (
        described(state=[ARM, {"key": "more", "start": 6, "end": 70, "normalization": "sin_cos"}]),
        "134 dimensions",
    ),
}


@pytest.mark.parametrize("data,sentence", TOO_LARGE.values(), ids=TOO_LARGE.keys())
def test_a_robot_larger_than_the_model_is_rejected_where_the_model_is_known(data, sentence):
    embodiment = load_embodiment(data)
    with pytest.raises(ConfigurationError, match=sentence):
        check_limits(embodiment, default_family().limits)
    check_limits(embodiment, Limits(state_dim=200, action_dim=200, action_horizon=100))


def test_a_right_one_passes_and_does_not_change():
    embodiment = load_embodiment(described())
    assert embodiment.state[0].dims == 6 and embodiment.state[0].column == "observation.state"
    assert embodiment.cameras[0].feature == "observation.images.front"
    with pytest.raises(ValueError, match="frozen"):
        embodiment.name = "other"


def test_a_relative_action_may_name_another_state():
    embodiment = load_embodiment(
        described(
            state=[{"key": "arm_position", "start": 0, "end": 6}],
            action=[{**ARM, "representation": "RELATIVE", "state_key": "arm_position"}],
        )
    )
    assert modality_configs(embodiment)["action"]["action_configs"][0]["state_key"] == "arm_position"


def test_embedding_keys_and_annotations():
    embodiment = load_embodiment(
        described(
            state=[
                {**ARM, "normalization": "sin_cos"},
                {"key": "speed", "start": 6, "end": 8, "normalization": "mean_std"},
            ],
            action=[{**ARM, "normalization": "mean_std"}],
            language={"key": "annotation.human.task_description"},
        )
    )
    configs = modality_configs(embodiment)
    assert configs["state"]["sin_cos_embedding_keys"] == ["arm"]
    assert configs["state"]["mean_std_embedding_keys"] == ["speed"]
    assert configs["action"]["mean_std_embedding_keys"] == ["arm"]
    assert configs["video"]["sin_cos_embedding_keys"] is None
    assert configs["language"]["modality_keys"] == ["annotation.human.task_description"]
    assert modality_json(embodiment)["annotation"] == {"human.task_description": {"original_key": "task_index"}}


@pytest.mark.parametrize(
    "spec,sentence",
    [
        ("aloha_gr", "did you mean 'aloha_gr1'"),
        ("robots/none.yaml", "does not exist"),
        ("none.yml", "does not exist"),
    ],
)
def test_specs_that_are_not_found(spec, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        load_embodiment(spec)


def test_broken_yaml_is_named(tmp_path):
    for text, sentence in (("name: [", "not valid YAML"), ("", "name"), ("name: a\nname: b\n", "given twice")):
        file = tmp_path / "robot.yaml"
        file.write_text(text)
        with pytest.raises(ConfigurationError, match=sentence):
            load_embodiment(file)


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, groot_ray.embodiment; from groot_ray.embodiment.modality import modality_configs; "
        "modality_configs(groot_ray.embodiment.load_embodiment('aloha_gr1')); "
        "heavy = ('numpy', 'torch', 'ray', 'av', 'cv2', 'pyarrow', 'transformers', 'boto3'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
