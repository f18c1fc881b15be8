"""Which checkpoints are taken, and how missing ones are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from groot_ray.errors import ConfigurationError
from groot_ray.evaluate.checkpoints import choose_steps, find_checkpoints
from groot_ray.storage import open_location


def run_with(folder: Path, *steps: int) -> Path:
    for step in steps:
        for name in ("config.json", "processor_config.json"):
            file = folder / f"checkpoint-{step}" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("{}")
    (folder / "config.json").write_text("{}")  # a finished run has its model at the top, without the processing
    return folder


def test_steps_are_ordered_as_numbers(tmp_path: Path) -> None:
    run = open_location(run_with(tmp_path, 900, 1000, 10000))
    found, notes = find_checkpoints([run], "all")
    assert [c.step for c in found] == [900, 1000, 10000]
    assert [c.name for c in found] == ["step_900", "step_1000", "step_10000"]
    assert notes == []
    assert [c.step for c in find_checkpoints([run], "last")[0]] == [10000]
    assert [c.step for c in find_checkpoints([run], [10000, 900])[0]] == [10000, 900]


def test_a_checkpoint_s_own_folder_is_taken_whatever_was_selected(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", 100, 200)
    (run / "checkpoint-100").rename(tmp_path / "mine")
    found, _ = find_checkpoints([open_location(tmp_path / "mine"), open_location(run / "checkpoint-200")], [7])
    assert [(c.name, c.step) for c in found] == [("mine", None), ("step_200", 200)]


def test_missing_steps_are_named_in_one_sentence(tmp_path: Path) -> None:
    found, notes = find_checkpoints([open_location(run_with(tmp_path, 3000, 4000))], [1000, 2000, 3000, 6000])
    assert [c.step for c in found] == [3000]
    (note,) = notes
    assert "no checkpoint of steps 1000 and 2000 (removed by save_total_limit or never saved" in note
    assert "none of step 6000 (the run has only reached 4000); it has 3000, 4000" in note


def test_no_requested_step_left_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="no checkpoint of step 1000 .*it has 3000, 4000"):
        choose_steps([3000, 4000], [1000], "run")


def test_half_written_checkpoints_and_other_folders_are_passed_over(tmp_path: Path) -> None:
    run = run_with(tmp_path, 100)
    (run / "checkpoint-200").mkdir()
    (run / "checkpoint-200" / "config.json").write_text("{}")
    (run / "checkpoint-old").mkdir()
    assert [c.step for c in find_checkpoints([open_location(run)], "last")[0]] == [100]


def test_a_run_s_checkpoint_counts_when_its_manifest_is_there(tmp_path: Path) -> None:
    run = run_with(tmp_path, 100, 200)
    (run / "run.json").write_text("{}")
    (run / "checkpoint-100" / "manifest.json").write_text("{}")
    assert [c.step for c in find_checkpoints([open_location(run)], "last")[0]] == [100]


def test_a_folder_without_checkpoints_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="neither a checkpoint"):
        find_checkpoints([open_location(tmp_path)], "last")
