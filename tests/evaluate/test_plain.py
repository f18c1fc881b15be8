"""Evaluation into a folder of one's own: done once, done anew for what has changed, nothing left over."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from groot_ray.errors import ConfigurationError
from groot_ray.evaluate.plain import evaluate_into
from groot_ray.experiment.schema import EvaluationOptions
from groot_ray.storage import open_location


def run(output: Path | str, run_folder: Path, force: bool = False, **options: Any) -> dict[str, Any]:
    chosen = EvaluationOptions(**{"steps": 20, "baselines": False, **options})
    return evaluate_into(
        open_location(output), [open_location(run_folder / "checkpoint-100")], None, chosen,
        tag=None, cache="~/.cache/groot_ray", tokenizer=None, force=force,
    )  # fmt: skip


def results(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != ".groot-ray"}


def test_done_is_skipped_and_what_changed_replaces_it(
    run_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    (output / "mine").mkdir(parents=True)
    (output / "mine" / "notes.txt").write_text("kept")
    made = run(output, run_folder, traj_ids=[0])
    assert "trajectory_0_comparison.png" in results(output)
    written = (output / "metrics.json").stat().st_mtime_ns
    with caplog.at_level(logging.INFO):
        assert run(output, run_folder, traj_ids=[0]) == made == json.loads((output / "metrics.json").read_text())
    assert "done before, skipped" in caplog.text and (output / "metrics.json").stat().st_mtime_ns == written
    run(output, run_folder, traj_ids=[1])
    assert {name for name in results(output) if name.startswith("trajectory_")} == {
        "trajectory_1_comparison.png",
        "trajectory_1_cameras.png",
    }
    assert (output / "mine" / "notes.txt").read_text() == "kept"
    monkeypatch.setattr("groot_ray.evaluate.plain.evaluate", lambda *a, **k: pytest.fail("evaluated again"))
    run(output, run_folder, traj_ids=[1])
    with pytest.raises(pytest.fail.Exception, match="evaluated again"):
        run(output, run_folder, force=True, traj_ids=[1])


def test_storage_is_looked_at_first(s3, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groot_ray.evaluate.plain.evaluate", lambda *a, **k: pytest.fail("work was begun"))
    with pytest.raises(ConfigurationError, match="no-such-bucket"):
        run("s3://no-such-bucket/out", run_folder)
