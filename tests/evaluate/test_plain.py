"""Evaluation into a folder you choose: done once, repeated for what has changed, nothing left over."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from groot_ray.errors import ConfigurationError
from groot_ray.evaluate.plain import evaluate_into
from groot_ray.evaluate.plan import EvaluationPlan
from groot_ray.experiment.schema import EvaluationOptions
from groot_ray.storage import open_location


def run(output: Path | str, run_folder: Path, force: bool = False, **options: Any) -> dict[str, Any]:
    chosen = EvaluationOptions(**{"steps": 20, "baselines": False, "plots": False, **options})
    plan = EvaluationPlan([open_location(run_folder / "checkpoint-100")], None, open_location(output), chosen)
    return evaluate_into(plan, force=force)


def results(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != ".groot-ray"}


def test_done_is_skipped_and_what_changed_replaces_it(
    run_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    (output / "mine").mkdir(parents=True)
    (output / "mine" / "notes.txt").write_text("kept")
    made = run(output, run_folder, traj_ids=[0])
    assert results(output) == {"mine", "metrics.json", "evaluation_summary.txt"}
    written = (output / "metrics.json").stat().st_mtime_ns
    with caplog.at_level(logging.INFO):
        assert run(output, run_folder, traj_ids=[0]) == made == json.loads((output / "metrics.json").read_text())
    assert "done before, skipped" in caplog.text and (output / "metrics.json").stat().st_mtime_ns == written
    run(output, run_folder, traj_ids=[1])
    assert json.loads((output / "metrics.json").read_text()) != made
    assert (output / "mine" / "notes.txt").read_text() == "kept"
    monkeypatch.setattr("groot_ray.evaluate.plain.evaluate", lambda *a, **k: pytest.fail("evaluated again"))
    run(output, run_folder, traj_ids=[1])
    with pytest.raises(pytest.fail.Exception, match="evaluated again"):
        run(output, run_folder, force=True, traj_ids=[1])


def test_only_its_own_files_are_taken_away_and_changed_weights_are_seen(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into the run's own folder, while something else is written there."""
    run_copy = tmp_path / "run"
    shutil.copytree(run_folder / "checkpoint-100", run_copy / "checkpoint-100")
    calls = []

    def evaluating(*given: Any, **more: Any) -> dict[str, Any]:
        calls.append(len(calls))
        (run_copy / "checkpoint-200").mkdir(exist_ok=True)
        (run_copy / "checkpoint-200" / "model.safetensors").write_text("of a training that continues")
        (run_copy / "metrics.json").write_text("{}")
        (run_copy / f"trajectory_{len(calls) - 1}_cameras.png").write_text("")
        return {}

    monkeypatch.setattr("groot_ray.evaluate.plain.evaluate", evaluating)
    monkeypatch.setattr("groot_ray.evaluate.plain.part_to_evaluate", lambda *given: open_location(tmp_path / "set"))
    (tmp_path / "set" / "meta").mkdir(parents=True)
    (tmp_path / "set" / "meta" / "episodes.jsonl").write_text('{"episode_index": 0}\n')
    run(run_copy, run_copy, plots=True, traj_ids=[0])
    run(run_copy, run_copy, plots=True, traj_ids=[0])
    assert len(calls) == 1
    run(run_copy, run_copy, plots=True, traj_ids=[1])
    assert len(calls) == 2 and not (run_copy / "trajectory_0_cameras.png").exists()
    (run_copy / "checkpoint-100" / "model.safetensors").write_text("other weights")
    run(run_copy, run_copy, plots=True, traj_ids=[1])
    assert len(calls) == 3 and (run_copy / "checkpoint-200" / "model.safetensors").exists()


def test_storage_is_looked_at_first(s3, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groot_ray.evaluate.plain.evaluate", lambda *a, **k: pytest.fail("work was begun"))
    with pytest.raises(ConfigurationError, match="no-such-bucket"):
        run("s3://no-such-bucket/out", run_folder)
