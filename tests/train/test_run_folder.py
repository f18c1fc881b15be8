from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groot_ray.differences import differences
from groot_ray.errors import ConfigurationError
from groot_ray.storage import Location, open_location
from groot_ray.storage.manifest import Manifest, commit_manifest
from groot_ray.train.checkpoints.run_folder import RunFolder
from groot_ray.train.order.phases import Phase, learning_rate, next_phases, phase_of, scheduled_rate


def commit(folder: Location, step: int, max_steps: int = 1000) -> None:
    (folder / "optimizer.safetensors").write_bytes(b"state")
    made = {"step": step, "max_steps": max_steps, "resume": ["optimizer.safetensors"]}
    commit_manifest(folder, Manifest(stage="checkpoint", key="k", version="0", made=made))


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=8, unique=True),
    st.lists(st.integers(1, 30), max_size=4, unique=True),
    st.integers(1, 4),
    st.sets(st.integers(1, 30), max_size=3),
)
@settings(max_examples=40, deadline=None)
def test_retention(tmp_path_factory, steps: list[int], recoveries: list[int], limit: int, keep: set[int]) -> None:
    run = RunFolder(open_location(tmp_path_factory.mktemp("run")))
    for step in steps:
        commit(run.checkpoint(step), step)
    for step in recoveries:
        commit(run.recovery(step), step)
    run.retain(limit, keep)
    newest = sorted(step for step in steps if step not in keep)[-limit:]
    left = sorted([*newest, *(step for step in steps if step in keep)])
    assert [saved.step for saved in run.checkpoints()] == left
    whole = [saved.step for saved in run.checkpoints() if (saved.folder / "optimizer.safetensors").exists()]
    assert whole == left[-2:]
    assert [saved.step for saved in run.recoveries()] == sorted(step for step in recoveries if step > left[-1])[-2:]
    run.retain(limit, keep)
    assert [saved.step for saved in run.checkpoints()] == left


def test_a_run_resumes_from_its_newest_complete_checkpoint(tmp_path: Path) -> None:
    run = RunFolder(open_location(tmp_path))
    assert run.newest() is None
    commit(run.checkpoint(10), 10)
    commit(run.recovery(12), 12)
    (run.recovery(15) / "optimizer.safetensors").write_bytes(b"no manifest")
    newest = run.newest()
    assert newest is not None and (newest.kind, newest.step) == ("recovery", 12)
    (run.recovery(12) / "optimizer.safetensors").delete()
    newest = run.newest()
    assert newest is not None and (newest.kind, newest.step) == ("checkpoint", 10)
    run.sweep()
    assert not run.recovery(15).has_files() and run.recovery(12).has_files()


def test_a_checkpoint_that_is_being_removed_no_longer_counts(tmp_path: Path) -> None:
    run = RunFolder(open_location(tmp_path))
    commit(run.checkpoint(3), 3)
    (run.checkpoint(3) / "manifest.json").delete()  # the first step of a removal that is then killed
    assert run.checkpoints() == [] and run.newest() is None
    run.sweep()
    assert not run.checkpoint(3).has_files()


def test_a_run_is_finished_by_the_checkpoint_of_its_own_schedule(tmp_path: Path) -> None:
    run = RunFolder(open_location(tmp_path))
    commit(run.checkpoint(100), 100, max_steps=200)
    assert run.finished(100) is None
    commit(run.checkpoint(200), 200, max_steps=200)
    found = run.finished(200)
    assert found is not None and found.step == 200


def test_phases_are_written_once_and_in_order(tmp_path: Path) -> None:
    run = RunFolder(open_location(tmp_path))
    assert run.plan_phases(10) == run.plan_phases(10) == [Phase(0, 10)]
    commit(run.checkpoint(10), 10)
    assert run.plan_phases(10) == [Phase(0, 10)]
    assert run.plan_phases(30) == [Phase(0, 10), Phase(10, 30)]
    assert sorted(path.name for path in (tmp_path / "phases").iterdir()) == ["1.json", "2.json"]
    with pytest.raises(ConfigurationError, match="reached step 10, more than max_steps 5"):
        run.plan_phases(5)


def test_clearing_removes_the_run_and_nothing_else(tmp_path: Path) -> None:
    run = RunFolder(open_location(tmp_path))
    run.pin({"a": 1})
    run.plan_phases(10)
    commit(run.checkpoint(3), 3)
    commit(run.recovery(4), 4)
    (tmp_path / "notes.txt").write_text("mine")
    run.clear()
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"notes.txt"}
    run.pin({"a": 2})


def test_a_pinned_run_names_what_differs(tmp_path: Path) -> None:
    run = RunFolder(open_location(tmp_path))
    run.pin({"training": {"seed": 1, "learning_rate": 0.1}})
    run.pin({"training": {"seed": 1, "learning_rate": 0.1}})
    with pytest.raises(ConfigurationError, match="training.seed 1, not 2"):
        run.pin({"training": {"seed": 2, "learning_rate": 0.1}})
    assert [str(d) for d in differences({"a": {"b": [1]}, "c": 2}, {"a": {"b": [1]}, "d": 3})] == [
        "c 2, not None",
        "d None, not 3",
    ]


phases = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 200)), min_size=1, max_size=4)


@given(phases, st.integers(0, 300))
def test_the_rate_is_that_of_the_phase_that_has_begun(changes: list[tuple[int, int]], step: int) -> None:
    found: list[Phase] = []
    reached = 0
    for advance, max_steps in changes:
        found = next_phases(found, reached, max_steps)
        reached += advance
    begun = [phase for phase in found if phase.start <= step][-1]
    assert phase_of(step, found) == begun
    assert scheduled_rate(step, found, 1e-3, 0.05) == learning_rate(step, begun.max_steps, 0.05, 1e-3)
    assert next_phases(found, reached, found[-1].max_steps) == found
