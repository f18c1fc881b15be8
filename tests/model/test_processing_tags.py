"""Embodiment tags and modality configurations."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import DATA

from groot_ray.errors import ConfigurationError
from groot_ray.model.n1d6.tags import EMBODIMENT_TAGS, default_modality_configs
from groot_ray.model.shared.modality import ModalityConfig, modality_configs_json, parse_modality_configs
from groot_ray.model.shared.tags import resolve_tag, tag_value


def _recorded() -> dict:
    config = json.loads((DATA / "processor" / "processor_config.json").read_text())
    return config["processor_kwargs"]["modality_configs"]["new_embodiment"]


def test_ids_are_those_of_the_reference() -> None:
    reference = json.loads((DATA / "processor" / "embodiment_id.json").read_text())
    assert {tag.value: tag.id for tag in EMBODIMENT_TAGS.values()} == reference


@given(st.sampled_from(sorted(EMBODIMENT_TAGS)), st.randoms())
def test_a_tag_is_found_in_any_spelling(name: str, random) -> None:
    text = "".join(random.choice([c.lower(), c.upper()]) for c in name).replace("_", random.choice("_-"))
    assert resolve_tag(text, EMBODIMENT_TAGS) == name
    assert tag_value(f" {text} ", EMBODIMENT_TAGS) == name.lower()


def test_an_unknown_tag_is_answered_with_the_list_and_the_one_for_own_robots() -> None:
    with pytest.raises(ConfigurationError, match="custom_robot.*use NEW_EMBODIMENT for a robot of your own") as error:
        resolve_tag("custom_robot", EMBODIMENT_TAGS)
    assert all(name in str(error.value) for name in EMBODIMENT_TAGS)
    with pytest.raises(ConfigurationError, match="did you mean 'GR1'"):
        resolve_tag("gr2", EMBODIMENT_TAGS)
    assert resolve_tag("agibot", known=["agibot"]) == "AGIBOT"


@pytest.mark.parametrize("name", sorted(EMBODIMENT_TAGS))
def test_default_configurations_are_complete_or_absent(name: str) -> None:
    configs = default_modality_configs(name)
    if name in ("NEW_EMBODIMENT", "GR1", "ROBOCASA_PANDA_OMRON"):
        assert configs is None
        return
    assert configs is not None
    assert modality_configs_json(parse_modality_configs(configs, name)) == configs


def test_default_configurations_hold_what_the_reference_trains() -> None:
    g1 = parse_modality_configs(default_modality_configs("unitree_g1") or {}, "g1")["action"]
    assert g1.delta_indices == tuple(range(30))
    assert [k for k in g1.modality_keys if g1.action_config(k).rep == "RELATIVE"] == ["left_arm", "right_arm"]
    r1 = parse_modality_configs(default_modality_configs("behavior_r1_pro") or {}, "r1")
    assert len(r1["action"].delta_indices) == 32 and r1["action"].action_config("torso").state_key == "trunk_qpos"
    widowx = parse_modality_configs(default_modality_configs("oxe_widowx") or {}, "w")["action"]
    assert widowx.mean_std_embedding_keys == ("x", "y", "z", "roll", "pitch", "yaw") and widowx.action_configs is None


def test_a_configuration_survives_parsing() -> None:
    recorded = _recorded()
    parsed = parse_modality_configs(recorded, "a test")
    assert modality_configs_json(parsed) == recorded
    assert parse_modality_configs(parsed, "a test") == parsed
    assert parsed["action"].action_config("eef").format == "XYZ_ROT6D"
    assert ModalityConfig((0,), ("a",)).action_config("a").rep == "ABSOLUTE"


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (("action",), None, "has no 'action'"),
        (("video", "delta_indices"), [], "delta_indices of 'video' of a test must be a list of integers"),
        (("video", "delta_indices"), [0.5], "integers"),
        (("state", "modality_keys"), "arm", "must be a list of names"),
        (("state", "modality_keys"), ["arm", "arm"], "names a key twice"),
        (("state", "sin_cos_embedding_keys"), ["leg"], "names 'leg', which is not among modality_keys"),
        (("state", "mean_std_embedding_keys"), ["arm"], "both sine/cosine and mean/std of 'arm'"),
        (("state", "modalty_keys"), ["arm"], "unknown entry 'modalty_keys' .did you mean 'modality_keys'"),
        (("action", "action_configs"), [], "has 0 action_configs for 3 modality_keys"),
        (
            ("action", "action_configs", 0, "rep"),
            "RELATIV",
            "rep 'RELATIV' of 'arm' in 'action' of a test is none of RELATIVE",
        ),
        (("action", "action_configs", 0, "state_key"), "leg", "RELATIVE to state 'leg', which is not a state key"),
        (("action", "action_configs", 2, "format"), "DEFAULT", "RELATIVE end-effector pose without a format"),
        (("language", "modality_keys"), ["a", "b"], "language of a test must be one key"),
    ],
)
def test_mistakes_are_told_in_a_sentence(path: tuple, value: object, sentence: str) -> None:
    configs = copy.deepcopy(_recorded())
    place = configs
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    with pytest.raises(ConfigurationError, match=sentence):
        parse_modality_configs(configs, "a test")
