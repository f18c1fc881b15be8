"""Flags made from the schema, and the guides' way of writing them."""

from __future__ import annotations

from typing import Any, Optional

import pytest
import typer

from groot_ray.cli import sections
from groot_ray.cli.flags import NAMES, GuideCommand, flag_fields, read_value, with_flags
from groot_ray.errors import ConfigurationError
from groot_ray.experiment.schema import TrainingOptions


def parse(line: list[str], flags: sections.Sections = sections.ALL) -> dict[str, Any]:
    """Run a command that only remembers its overrides."""
    seen: dict[str, Any] = {}

    def command(overrides: Optional[dict[str, Any]] = None) -> None:
        seen.update(overrides or {})

    app = typer.Typer()
    app.command("x", cls=GuideCommand)(with_flags(command, flags))
    app(args=line, standalone_mode=False)
    return {place.removeprefix("experiment."): value for place, value in seen.items()}


def test_the_guides_launch_line() -> None:
    line = (
        "--base-model-path nvidia/GR00T-N1.6-3B --embodiment-tag GR1 --learning-rate 1e-4 --global-batch-size 32 "
        "--max-steps 5000 --save-steps 500 --num-gpus 1 --gradient-accumulation-steps 2 --use-wandb True"
    )
    assert parse(line.split()) == {
        "model.base": "nvidia/GR00T-N1.6-3B",
        "embodiment_tag": "GR1",
        "training.learning_rate": 1e-4,
        "training.global_batch_size": 32,
        "training.max_steps": 5000,
        "training.save_steps": 500,
        "training.num_workers": 1,
        "training.gradient_accumulation_steps": 2,
        "training.use_wandb": True,
    }


def test_underscores_several_values_and_spelled_out_booleans() -> None:
    line = (
        "--traj_ids 0 1 2 --steps 200 --tune_llm True --tune-projector False --no-tune-vlln "
        "--color_jitter_params brightness 0.3 hue 0.08"
    )
    assert parse(line.split()) == {
        "evaluation.traj_ids": [0, 1, 2],
        "evaluation.steps": 200,
        "training.tune_llm": True,
        "training.tune_projector": False,
        "training.tune_vlln": False,
        "training.color_jitter_params": {"brightness": 0.3, "hue": 0.08},
    }


def test_the_conversion_scripts_lines() -> None:
    assert parse("--input-dir ./d --target-fps 20 --target-resolution 256".split()) == {
        "source.uri": "./d",
        "conversion.fps": 20,
        "conversion.resolution": 256,
    }
    assert parse("--input_path ./d --train_episodes 19 --test_episodes 5".split()) == {
        "source.uri": "./d",
        "splits.train": 19,
        "splits.test": 5,
    }


def test_unions_keep_their_kind() -> None:
    assert parse(["--num-workers", "1", "2"]) == {"training.num_workers": [1, 2]}
    assert parse(["--num-workers", "[1, 2]"]) == {"training.num_workers": [1, 2]}
    assert parse(["--checkpoints", "all"]) == {"evaluation.checkpoints": "all"}
    assert parse(["--checkpoints", "1000", "2000"]) == {"evaluation.checkpoints": [1000, 2000]}
    assert parse(["--base-model-path", "null"]) == {"model.base": None}
    assert parse(["--embodiment", "robot.yaml"]) == {"embodiment": "robot.yaml"}


def test_every_field_has_one_flag_and_no_two_fields_share_one() -> None:
    names: dict[str, str] = {}
    for place, _ in flag_fields(sections.ALL).values():
        for name in NAMES.get(place, ("--" + place.rsplit(".", 1)[-1].replace("_", "-"),)):
            assert names.setdefault(name, place) == place, name
    assert set(NAMES) <= set(names.values()), "a name is given to a field that does not exist"
    assert len(TrainingOptions.model_fields) == sum(
        place.startswith("experiment.training.") for place in set(names.values())
    )


def test_odd_pairs_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="pairs of a key and a value"):
        read_value(
            "experiment.training.color_jitter_params",
            TrainingOptions.model_fields["color_jitter_params"].annotation,
            ["a", "1", "b"],
        )
