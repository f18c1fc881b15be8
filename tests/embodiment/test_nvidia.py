"""NVIDIA's modality configuration files are read without their package, and ours read back as they were."""

from __future__ import annotations

import sys

import pytest
from modality_source import write_modality_config

from groot_ray.embodiment import load_embodiment, preset_names
from groot_ray.embodiment.limits import check_horizon
from groot_ray.embodiment.modality import modality_configs
from groot_ray.embodiment.nvidia import read_modality_config, read_modality_configs
from groot_ray.errors import ConfigurationError
from groot_ray.model.family import default_family

USUAL = """
from gr00t.configs.data.embodiment_configs import register_modality_config
from gr00t.data.embodiment_tags import EmbodimentTag
from gr00t.data.types import (
    ActionConfig,
    ActionFormat,
    ActionRepresentation,
    ActionType,
    ModalityConfig,
)

joints = ActionConfig(rep=ActionRepresentation.RELATIVE, type=ActionType.NON_EEF, format=ActionFormat.DEFAULT)
config = {
    "video": ModalityConfig(delta_indices=[0], modality_keys=["front", "wrist"]),
    "state": ModalityConfig(
        delta_indices=[0], modality_keys=["single_arm", "gripper"], sin_cos_embedding_keys=["single_arm"]),
    "action": ModalityConfig(
        delta_indices=list(range(16)),
        modality_keys=["single_arm", "gripper"],
        action_configs=[joints, ActionConfig(
            ActionRepresentation.ABSOLUTE, ActionType.NON_EEF, ActionFormat.DEFAULT, "gripper")],
    ),
    "language": ModalityConfig(delta_indices=[0], modality_keys=["annotation.human.task_description"]),
}
"""


def written(folder, text):
    file = folder / "modality_config.py"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    "call,tag",
    [
        ("register_modality_config(config)", "NEW_EMBODIMENT"),
        ("register_modality_config(config, EmbodimentTag.GR1)", "GR1"),
        (
            "register_modality_config(config, embodiment_tag=EmbodimentTag.NEW_EMBODIMENT)\nprint('registered')",
            "NEW_EMBODIMENT",
        ),
        ("register_modality_config(config, EmbodimentTag('robocasa_panda_omron'))", "ROBOCASA_PANDA_OMRON"),
    ],
)
def test_a_usual_file(tmp_path, call, tag):
    registered = read_modality_configs(written(tmp_path, USUAL + call))
    assert list(registered) == [tag]
    config = registered[tag]
    assert config["video"] == {
        "delta_indices": [0],
        "modality_keys": ["front", "wrist"],
        "sin_cos_embedding_keys": None,
        "mean_std_embedding_keys": None,
        "action_configs": None,
    }
    assert config["state"]["sin_cos_embedding_keys"] == ["single_arm"]
    assert config["action"]["delta_indices"] == list(range(16))
    assert config["action"]["action_configs"] == [
        {"rep": "RELATIVE", "type": "NON_EEF", "format": "DEFAULT", "state_key": None},
        {"rep": "ABSOLUTE", "type": "NON_EEF", "format": "DEFAULT", "state_key": "gripper"},
    ]
    assert "gr00t" not in sys.modules, "nothing of the user's file may reach this process"


def test_neighboring_modules_may_be_imported(tmp_path):
    (tmp_path / "shared_settings.py").write_text("HORIZON = 8\n")
    text = (
        "from shared_settings import HORIZON\n"
        + USUAL.replace("range(16)", "range(HORIZON)")
        + "register_modality_config(config)"
    )
    assert read_modality_configs(written(tmp_path, text))["NEW_EMBODIMENT"]["action"]["delta_indices"] == list(range(8))


@pytest.mark.parametrize("preset", preset_names())
def test_what_is_written_is_read_back(tmp_path, preset):
    embodiment = load_embodiment(preset)
    file = written(tmp_path, write_modality_config(embodiment))
    assert read_modality_config(file) == (embodiment.tag, modality_configs(embodiment))


WRONG = {
    "missing package part": ("import gr00t.model.gr00t_n1d6", r"No module named 'gr00t.model'.*line 1"),
    "own error": ("a = 1\nb = a / 0", r"ZeroDivisionError: division by zero \(line 2\)"),
    "syntax": ("def f(:", r"SyntaxError: invalid syntax \(line 1\)"),
    "exits": ("import sys; sys.exit(3)", "exits"),
    "ends its process": ("import os; os._exit(4)", "code 4"),
    "registers nothing": (USUAL, "registers nothing"),
    "registers twice": (
        USUAL + "register_modality_config(config)\nregister_modality_config(config)",
        "NEW_EMBODIMENT is registered twice",
    ),
    "built-in tag": (
        USUAL + "register_modality_config(config, EmbodimentTag.UNITREE_G1)",
        "UNITREE_G1 has a built-in configuration",
    ),
    "unknown tag": (
        USUAL + "register_modality_config(config, 'custom_robot')",
        "no embodiment tag 'custom_robot'; use NEW_EMBODIMENT",
    ),
    "too few action configs": (
        USUAL.replace("[joints, ", "[") + "register_modality_config(config)",
        "2 modality_keys but 1 action_configs",
    ),
    "no language": (USUAL + "del config['language']\nregister_modality_config(config)", "no 'language'"),
    "relative to nothing": (
        USUAL.replace('["single_arm", "gripper"], sin', '["arm", "gripper"], sin') + "register_modality_config(config)",
        "arm",
    ),
}


@pytest.mark.parametrize("text,sentence", WRONG.values(), ids=WRONG.keys())
def test_mistakes_are_one_sentence(tmp_path, text, sentence):
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        read_modality_configs(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_the_tag_has_to_be_in_the_file(tmp_path):
    file = written(
        tmp_path, USUAL + "register_modality_config(config)\nregister_modality_config(config, EmbodimentTag.GR1)"
    )
    with pytest.raises(ConfigurationError, match="NEW_EMBODIMENT, GR1; name one"):
        read_modality_config(file)
    assert read_modality_config(file, "gr1")[0] == "GR1"
    with pytest.raises(ConfigurationError, match="not OXE_DROID"):
        read_modality_config(file, "OXE_DROID")
    with pytest.raises(ConfigurationError, match="does not exist"):
        read_modality_config(tmp_path / "none.py")


def test_a_file_that_does_not_end_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("groot_ray.embodiment.nvidia.TIMEOUT", 1.0)
    with pytest.raises(ConfigurationError, match="did not end within 1 s"):
        read_modality_configs(written(tmp_path, "while True: pass"))


def test_the_published_recipes_files_read(shared_dir, tmp_path):
    import re

    expected = {"aloha_finetuning_guide": "aloha_gr1_full", "ball2_inhouse_pipeline": "trossen_mobile"}
    for name, preset in expected.items():
        blocks = re.findall(r"```python\n(.*?)```", (shared_dir / "seeds" / f"{name}.md").read_text(), re.S)
        file = written(tmp_path, next(block for block in blocks if "register_modality_config" in block))
        assert read_modality_config(file) == ("NEW_EMBODIMENT", modality_configs(load_embodiment(preset)))


def test_a_horizon_beyond_the_models(tmp_path):
    file = tmp_path / "config.py"
    file.write_text(USUAL.replace("range(16)", "range(64)") + "register_modality_config(config)")
    tag, configs = read_modality_config(file)
    with pytest.raises(ConfigurationError, match=f"tag {tag} has 64 delta_indices; the model predicts at most 50"):
        check_horizon(configs, default_family().limits, f"tag {tag}")
