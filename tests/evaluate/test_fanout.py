"""Evaluation as Ray tasks: the same numbers, and errors that come out as themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from groot_ray.errors import ConfigurationError, StoppedError
from groot_ray.evaluate.fanout import is_worthwhile, run_distributed
from groot_ray.evaluate.open_loop import evaluate
from groot_ray.evaluate.plan import EvaluationPlan
from groot_ray.evaluate.run import Run, run_policy
from groot_ray.experiment.schema import EvaluationOptions
from groot_ray.storage import open_location


@pytest.fixture
def run(run_folder: Path, converted_aloha: Path, tmp_path: Path) -> Run:
    return Run(
        open_location(run_folder / "checkpoint-100"),
        open_location(converted_aloha / "test"),
        EvaluationOptions(steps=20, traj_ids=[0]),
        "GR1",
        str(tmp_path / "cache"),
        "cpu",
        open_location(tmp_path / "plots"),
    )


def test_tasks_give_what_the_process_itself_gives(run: Run, run_folder: Path, one_ray: None, tmp_path: Path) -> None:
    here = run_policy(run)
    chosen = EvaluationOptions(steps=20, traj_ids=[0], checkpoints=[100, 200])
    plan = EvaluationPlan([open_location(run_folder)], None, open_location(tmp_path / "out"), chosen, device="cpu")
    there = evaluate(plan, distributed=True)
    found = there["checkpoints"]["step_100"]["trajectories"][0]["all"]
    # Ray gives its tasks another number of threads, which changes the last bits of sums.
    assert found["mae"] == pytest.approx(here["trajectories"][0]["all"]["mae"], rel=1e-5)
    names = {path.name for path in (tmp_path / "out/step_200").iterdir()}
    assert names == {
        "metrics.json",
        "evaluation_summary.txt",
        "trajectory_0_comparison.png",
        "trajectory_0_cameras.png",
    }
    assert "average" in there["checkpoints"]["step_200"]["baselines"]["untrained"]


def test_errors_for_people_come_out_as_themselves(run: Run, one_ray: None) -> None:
    from dataclasses import replace

    wrong = replace(run, options=run.options.model_copy(update={"traj_ids": [5]}))
    with pytest.raises(ConfigurationError, match="no trajectory 5") as caught:
        run_distributed([wrong], lambda: None, lambda: None)
    assert "Traceback" not in str(caught.value)


def test_a_request_to_stop_ends_the_tasks(run: Run, one_ray: None) -> None:
    def stop() -> None:
        raise StoppedError("asked to stop")

    with pytest.raises(StoppedError):
        run_distributed([run], lambda: None, stop)


def test_one_node_without_gpus_is_no_reason_for_tasks(one_ray: None) -> None:
    assert not is_worthwhile()


def test_pods_that_come_when_asked_for_are(one_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from groot_ray.ray_session import GROWTH, has_gpus

    monkeypatch.setenv(GROWTH, '{"pods": 1, "gpus": 0}')
    assert is_worthwhile() and not has_gpus()
    monkeypatch.setenv(GROWTH, '{"pods": 1, "gpus": 8}')
    assert is_worthwhile() and has_gpus()
