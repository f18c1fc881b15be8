"""Mismatches between parts of a document are reported before any work."""

from __future__ import annotations

from typing import Any

import pytest

from groot_ray.embodiment import load_embodiment
from groot_ray.errors import ConfigurationError
from groot_ray.experiment.agreement import check_agreement
from groot_ray.experiment.document import build_document

STAGES = ("convert", "finetune", "evaluate")


def checked(stages: tuple[str, ...] = STAGES, **changes: Any) -> list[str]:
    given = {f"experiment.{name.replace('__', '.')}": value for name, value in changes.items()}
    base = {"experiment.name": "x", "experiment.source.uri": ".", "experiment.embodiment": "aloha"}
    document = build_document({}, {**base, **given})
    return check_agreement(document.experiment, load_embodiment("aloha"), stages)


def test_a_part_without_episodes_cannot_be_evaluated() -> None:
    with pytest.raises(ConfigurationError, match=r"splits\.test keeps no episode back"):
        checked()
    with pytest.raises(ConfigurationError, match=r"splits\.validation keeps no episode back"):
        checked(splits__test=1, evaluation__split="validation")
    assert checked(splits__test=0.25) == checked(evaluation__split="train") == []
    assert checked(("convert", "finetune")) == []


def test_a_horizon_beyond_the_models() -> None:
    with pytest.raises(ConfigurationError, match="action_horizon 17 is more than the 16 steps"):
        checked(splits__test=1, evaluation__action_horizon=17)


def test_a_robot_that_is_larger_than_the_model() -> None:
    base = {"experiment.name": "x", "experiment.source.uri": ".", "experiment.embodiment": "aloha"}
    experiment = build_document({}, base).experiment
    robot = load_embodiment({"preset": "aloha", "action_horizon": 51})
    for stages in (STAGES, ("convert",)):
        with pytest.raises(ConfigurationError, match="'action_horizon' 51 is more than the 50 steps"):
            check_agreement(experiment, robot, stages)


def test_checkpoints_that_are_never_saved_are_named() -> None:
    steps = {"splits__test": 1, "training__max_steps": 1000, "training__save_steps": 100}
    assert checked(**steps, evaluation__checkpoints=[600, 1000]) == []
    (told,) = checked(**steps, evaluation__checkpoints=[150, 500, 600])
    assert "steps 150, 500, which training neither saves nor keeps" in told
    assert checked(**steps, evaluation__checkpoints=[150], training__keep_steps=[150]) == []


@pytest.mark.parametrize("value", [1.0, 2.5, "3", True, -1])
def test_episodes_are_counts_or_shares(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"experiment\.splits\.train.*whole number of episodes, or a share"):
        checked(splits__train=value)


def test_one_step_is_a_list_of_one_and_an_empty_section_is_told() -> None:
    assert "step 1, " in checked(splits__test=1, evaluation__checkpoints=1)[0]
    with pytest.raises(ConfigurationError, match=r"'experiment\.splits' is empty"):
        checked(splits=None)
    with pytest.raises(ConfigurationError, match="'h264', 'mp4v', 'hevc' or 'av1'"):
        checked(conversion__codec="h265")
