"""The declarations of the stages agree with the schema, the modules and the commands."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest
from pydantic import BaseModel

import groot_ray
from groot_ray.cli.main import COMMANDS
from groot_ray.errors import ConfigurationError
from groot_ray.experiment.document import build_document
from groot_ray.experiment.schema import Experiment
from groot_ray.experiment.stages import (
    PINS,
    PIPELINE,
    STAGE_NAMES,
    Export,
    check_stage_names,
    declared,
)
from groot_ray.stages import STAGES

STAGE_INPUTS = {"evaluate": {"weights"}}  # what a stage adds itself


def test_each_section_belongs_to_one_stage() -> None:
    fields = Experiment.model_fields.items()
    sections = [n for n, f in fields if isinstance(f.annotation, type) and issubclass(f.annotation, BaseModel)]
    owned = [section for stage in PIPELINE for section in stage.sections]
    assert sorted([*owned, "storage"]) == sorted(sections)
    assert all(set(stage.reads) <= set(sections) - set(stage.sections) for stage in PIPELINE)


def test_stages_follow_stages_that_are_declared_before_them() -> None:
    for number, stage in enumerate(PIPELINE):
        earlier = set(STAGE_NAMES[:number])
        assert set(stage.after) <= earlier
        assert set(stage.inputs) <= {*earlier, *PINS, *STAGE_INPUTS.get(stage.name, ())}


def test_each_stage_has_a_module_and_a_command() -> None:
    assert tuple(STAGES) == STAGE_NAMES
    for stage in PIPELINE:
        assert STAGES[stage.name] is import_module(f"groot_ray.stages.{stage.name}").STAGE
        assert STAGES[stage.name].declaration is stage
        assert COMMANDS[stage.name][:2] == (stage.name, stage.help)


def test_a_stage_is_spelled_in_its_declaration_alone() -> None:
    package = Path(groot_ray.__file__).parent
    spelled = {
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in STAGE_NAMES
    }
    assert spelled == {"experiment/stages.py"}


def test_an_invented_stage_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match="rollout is not a stage; the stages are download, convert"):
        declared("rollout")
    with pytest.raises(
        ConfigurationError, match=r"cluster.stages.finetun is not a stage \(did you mean 'finetune'\?\)"
    ):
        check_stage_names(["convert", "finetun"], "cluster.stages.")
    experiment = {"name": "x", "source": {"uri": "."}, "embodiment": "aloha"}
    for options in ({}, {"after": "finetune"}, {"after": "finetune", "image": "train"}):
        with pytest.raises(ConfigurationError, match="rollout"):
            build_document({"experiment": experiment, "cluster": {"stages": {"rollout": options}}})


def test_a_pattern_stands_for_numbers() -> None:
    pattern = Export("checkpoint-N", "checkpoint-*")
    assert pattern.matches("checkpoint-100")
    assert not any(map(pattern.matches, ("checkpoint-", "checkpoint-last", "100", "recovery/step-1")))
    assert not Export("train", "train").matches("train")
