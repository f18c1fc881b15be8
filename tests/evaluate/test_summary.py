"""Ratings of several trajectories, and the texts made of them."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest

from groot_ray.errors import ConfigurationError
from groot_ray.evaluate.layout import ActionLayout
from groot_ray.evaluate.metrics import score
from groot_ray.evaluate.rating import DEFINITIONS, FORMAT, Trajectory, rate
from groot_ray.evaluate.results import against, compare, verdict
from groot_ray.evaluate.summary import comparison_csv, comparison_summary, evaluation_summary, percent, table

LAYOUT = ActionLayout(
    keys=("base_vel", "left_arm", "waist"),
    widths=(2, 3, 1),
    names=("base_vel.lin", "base_vel.ang", "left_arm.shoulder", "left_arm.elbow", "left_arm (padding 1)", "waist"),
    units=("m/s", "rad/s", "rad", "rad", "", ""),
    kinds=("velocity", "velocity", "position", "position", "position", "position"),
    real=(0, 1, 2, 3),
)
THRESHOLDS = [0.05, 0.1, 0.2]


def trajectories(scale: float) -> list[Trajectory]:
    rng = np.random.default_rng(7)
    made = []
    for number, frames in ((0, 30), (4, 12)):
        truth = rng.normal(size=(frames, 6))
        made.append(Trajectory(number, truth + scale * rng.normal(size=(frames, 6)), truth, tuple(range(0, frames, 8))))
    return made


def metrics(step: int, scale: float, hold: float) -> dict[str, Any]:
    rated = rate(LAYOUT, trajectories(scale), THRESHOLDS)
    baseline = rate(LAYOUT, trajectories(hold), THRESHOLDS)
    return {
        "format": FORMAT,
        "name": f"step_{step}",
        "checkpoint": f"s3://runs/ball2/checkpoint-{step}",
        "step": step,
        "dataset": "s3://data/test",
        "tag": "NEW_EMBODIMENT",
        "fps": 20.0,
        "options": {"steps": 200, "action_horizon": 8, "denoising_steps": 4, "seed": 0},
        "notes": [],
        "definitions": DEFINITIONS,
        **rated,
        "baselines": {
            "hold": against(rated, {"description": "hold the pose", **baseline}),
            "untrained": against(
                rated, {"description": "before finetuning", "unavailable": "the base checkpoint is gone"}
            ),
        },
    }


def test_each_view_rates_its_own_columns() -> None:
    made = trajectories(0.1)
    rated = rate(LAYOUT, made, THRESHOLDS)
    first = made[0]
    assert rated["trajectories"][0]["real"] == score(first.prediction[:, :4], first.truth[:, :4], THRESHOLDS).to_json()
    assert rated["trajectories"][0]["all"] == score(first.prediction, first.truth, THRESHOLDS).to_json()
    assert (
        rated["trajectories"][0]["components"]["left_arm"]["real"]
        == score(first.prediction[:, 2:4], first.truth[:, 2:4], THRESHOLDS).to_json()
    )
    assert rated["components"]["waist"]["real"] is None  # the robot has no waist
    mean = np.mean([score(t.prediction[:, 2:5], t.truth[:, 2:5], THRESHOLDS).mae for t in made])
    assert rated["components"]["left_arm"]["all"]["mae"] == pytest.approx(mean)
    assert [d["real"] for d in rated["dimensions"]] == [True] * 4 + [False] * 2
    assert rated["dimensions"][1]["mae"] == pytest.approx(
        np.mean([np.abs(t.prediction - t.truth)[:, 1].mean() for t in made])
    )
    spread = np.std([score(t.prediction, t.truth, THRESHOLDS).mae for t in made], ddof=1)
    assert rated["deviation"]["all"]["mae"] == pytest.approx(spread)


def test_summary_tells_all_that_was_measured() -> None:
    data = metrics(1000, 0.1, 0.3)
    text = evaluation_summary(data)
    for part in (
        "Success@0.05",
        "Accuracy@0.2",
        "Error drift",
        "base_vel.lin",
        "m/s",
        "last third",
        "s3://runs/ball2/checkpoint-1000",
    ):
        assert part in text
    assert f"{data['average']['all']['mae']:.6f}" in text
    assert f"{data['average']['real']['mse']:.6f}" in text
    assert "the base checkpoint is gone" in text
    assert "NOT beaten" not in text


def test_summary_says_when_a_baseline_is_not_beaten() -> None:
    worse = metrics(1000, 0.3, 0.1)
    assert worse["baselines"]["hold"]["beaten"] == {"all": False, "real": False}
    assert "NOT beaten" in evaluation_summary(worse)
    assert "(NOT beaten), untrained not evaluated (the base checkpoint is gone)" in verdict(worse)
    assert "(beaten)" in verdict(metrics(1000, 0.1, 0.3))


def test_comparison_has_the_reports_columns() -> None:
    entries = [metrics(1000, 0.3, 0.5), metrics(2000, 0.1, 0.5)]
    rows = list(csv.DictReader(io.StringIO(comparison_csv(entries))))
    assert list(rows[0]) == [
        "step",
        "mse",
        "mae",
        "success_005",
        "success_01",
        "success_02",
        "base_vel_mae",
        "left_arm_mae",
        "waist_mae",
    ]
    assert [row["step"] for row in rows] == ["1000", "2000"]
    assert float(rows[1]["mae"]) == pytest.approx(entries[1]["average"]["all"]["mae"], abs=1e-6)
    assert float(rows[1]["success_02"]) == pytest.approx(100 * entries[1]["average"]["all"]["success"]["0.2"], abs=0.05)
    text = comparison_summary(compare({entry["name"]: entry for entry in entries}, ["step 3000 is missing"]))
    best = next(line for line in text.splitlines() if line.strip().startswith("step_2000"))
    assert best.endswith("best")
    assert "step 3000 is missing" in text


def test_checkpoints_of_different_robots_are_not_compared() -> None:
    other = metrics(2000, 0.1, 0.5)
    other["components"] = {"arm": other["components"]["left_arm"]}
    with pytest.raises(ConfigurationError, match="predicts the components arm, but"):
        comparison_csv([metrics(1000, 0.1, 0.5), other])


def test_table_and_percent() -> None:
    assert (
        table(["", "MAE"], [["arm", "0.1"], ["gripper", "0.25"]]) == "            MAE\n  arm       0.1\n  gripper  0.25"
    )
    assert percent(0.9062) == "90.6%"
