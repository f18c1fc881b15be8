"""A checkpoint's bytes are compared with its manifest before anything uses them."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from training import Recorder, history, largest_difference, tensors

from groot_ray.cli.model import show
from groot_ray.errors import DataError, TemporaryFailureError
from groot_ray.evaluate.open_loop import evaluate
from groot_ray.evaluate.plan import EvaluationPlan
from groot_ray.experiment.schema import EvaluationOptions, ModelOptions, TrainingOptions
from groot_ray.policy.load import load_policy
from groot_ray.storage import Location, mirror, open_location, upload_tree
from groot_ray.storage.committed import checked_mirror, unless_removed
from groot_ray.storage.manifest import record_files
from groot_ray.train.checkpoints.resume import choose_checkpoint
from groot_ray.train.checkpoints.run_folder import DAMAGED, RunFolder
from groot_ray.train.plan import FinetunePlan
from groot_ray.train.start.model import base_folder
from groot_ray.train.step.collective import Alone
from groot_ray.train.worker import train_worker

RESUME = ["optimizer.safetensors"]
FILES = [
    "config.json",
    "embodiment.json",
    "embodiment_id.json",
    "experiment_cfg/conf.yaml",
    "experiment_cfg/config.yaml",
    "experiment_cfg/dataset_statistics.json",
    "experiment_cfg/final_model_config.json",
    "experiment_cfg/final_processor_config.json",
    "images.json",
    "model.safetensors",
    "processor_config.json",
    "rng_state.json",
    "statistics.json",
    "trainer_state.json",
]
OPTIONS = {
    "global_batch_size": 4,
    "learning_rate": 1e-3,
    "save_steps": 2,
    "logging_steps": 1,
    "recovery_interval": 0,
}
Start = Callable[..., Recorder]


@pytest.fixture(scope="module")
def start(train_set: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Start:
    """``start(output, max_steps)``: train a run, saving every second step."""
    cache = str(tmp_path_factory.mktemp("cache"))

    def run(output: Path | Location, max_steps: int, **more: Any) -> Recorder:
        training = TrainingOptions(**{**OPTIONS, "max_steps": max_steps, **more})
        plan = FinetunePlan(
            open_location(train_set), open_location(output), ModelOptions(base=str(base)), training, cache=cache
        )
        recorder = Recorder()
        train_worker(plan, Alone(), recorder.host())
        return recorder

    return run


@pytest.fixture(scope="module")
def trained(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with ``checkpoint-2`` and ``checkpoint-4``."""
    output = tmp_path_factory.mktemp("trained") / "run"
    start(output, 4)
    return output


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run to damage."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def flip(file: Path) -> None:
    """Flip one bit in the middle of a file."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def break_manifest(file: Path) -> None:
    """Leave valid JSON that lists one file less."""
    file.write_text(file.read_text().replace('"path"', '"poth"', 1))


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def evaluate_run(run: Path | Location, dataset: Path, output: Path, checkpoints: Any = "last", **more: Any) -> Any:
    options = EvaluationOptions(checkpoints=checkpoints, steps=1, plots=False, baselines=False)
    plan = EvaluationPlan(
        [open_location(run)], open_location(dataset), open_location(output), options, device="cpu", **more
    )
    return evaluate(plan, distributed=False)


def test_the_list_above_has_every_file(trained: Path) -> None:
    folder = trained / "checkpoint-4"
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {name for name in found if not name.startswith("tokenizer/")} == {*FILES, *RESUME, "manifest.json"}
    assert any(name.startswith("tokenizer/") for name in found)


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
@pytest.mark.parametrize("name", [*FILES, "tokenizer/vocab.json"])
def test_a_damaged_file_is_named_and_nothing_is_evaluated(
    run: Path, train_set: Path, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    folder = run / "checkpoint-4"
    damage(folder / name)
    with pytest.raises(DataError, match=f"checkpoint-4/{name} is (damaged|missing)"):
        evaluate_run(run, train_set, tmp_path / "results")
    assert not (tmp_path / "results").exists()
    for use in (load_policy, lambda folder: show(str(folder))):
        with pytest.raises(DataError, match=f"checkpoint-4/{name} is (damaged|missing)"):
            use(folder)


@pytest.mark.parametrize("name", [*FILES, *RESUME, "tokenizer/vocab.json", "manifest.json"])
def test_resume_chooses_the_next_older_checkpoint_and_names_the_damaged_file(
    run: Path, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (break_manifest if name == "manifest.json" else flip)(run / "checkpoint-4" / name)
    with caplog.at_level(logging.WARNING):
        chosen = choose_checkpoint(RunFolder(open_location(run)), tmp_path)
    assert chosen is not None and chosen.step == 2
    (warning,) = caplog.messages
    assert f"checkpoint-4/{name}" in warning and "resuming from the next older checkpoint, step 2" in warning


@pytest.mark.parametrize("damage", [truncate, Path.unlink])
def test_resume_passes_over_incomplete_checkpoints(
    run: Path, tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    damage(run / "checkpoint-4" / "statistics.json")
    with caplog.at_level(logging.WARNING):
        chosen = choose_checkpoint(RunFolder(open_location(run)), tmp_path)
    assert chosen is not None and chosen.step == 2 and "checkpoint-4/statistics.json" in caplog.text


def test_a_run_that_fell_back_ends_as_an_undisturbed_one(
    run: Path, trained: Path, start: Start, tmp_path: Path
) -> None:
    undisturbed = Path(shutil.copytree(trained, tmp_path / "undisturbed"))
    start(undisturbed, 6)
    flip(run / "checkpoint-4" / "model.safetensors")
    told = start(run, 6)
    assert told.of("begin")[0]["step"] == 2
    for step in (4, 6):  # the damaged one was written again
        assert largest_difference(run / f"checkpoint-{step}", undisturbed / f"checkpoint-{step}") == 0
        assert not (run / f"checkpoint-{step}" / DAMAGED).exists()
        checked_mirror(open_location(run / f"checkpoint-{step}"), tmp_path)
    assert history(run / "checkpoint-6") == history(undisturbed / "checkpoint-6")


def test_a_damaged_recovery_checkpoint_is_passed_over_and_later_removed(
    run: Path, start: Start, tmp_path: Path
) -> None:
    folder = RunFolder(open_location(run))
    recovery = run / "recovery" / "step-5"
    shutil.copytree(run / "checkpoint-4", recovery)
    flip(recovery / "optimizer.safetensors")
    assert start(run, 6).of("begin")[0]["step"] == 4
    assert not recovery.exists() and [saved.step for saved in folder.checkpoints()] == [2, 4, 6]


def test_a_run_without_an_intact_checkpoint_is_not_started_over(run: Path, start: Start) -> None:
    for step in (2, 4):
        flip(run / f"checkpoint-{step}" / "rng_state.json")
    before = {path for path in run.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=r"checkpoint-4/rng_state.json is damaged.*--force"):
        start(run, 6)
    assert {path for path in run.rglob("*") if path.is_file()} - before == {run / "phases" / "2.json"}
    assert all(path.is_file() for path in before)  # what is there can still be restored
    for step in (2, 4):
        (run / f"checkpoint-{step}" / "optimizer.safetensors").unlink()
    with pytest.raises(DataError, match="no complete checkpoint to resume from: the optimizer states are gone"):
        start(run, 6)


def test_one_damaged_checkpoint_of_all_ends_the_evaluation_before_any_work(
    run: Path, train_set: Path, tmp_path: Path
) -> None:
    flip(run / "checkpoint-4" / "statistics.json")
    with pytest.raises(DataError, match="checkpoint-4/statistics.json is damaged"):
        evaluate_run(run, train_set, tmp_path / "results", "all")
    assert not (tmp_path / "results").exists()
    evaluate_run(run, train_set, tmp_path / "results", [2])  # the others can be
    assert (tmp_path / "results" / "metrics.json").exists()


def test_a_missing_optimizer_is_no_fault_and_foreign_weights_are(run: Path, train_set: Path, tmp_path: Path) -> None:
    folder = run / "checkpoint-4"
    (folder / "optimizer.safetensors").unlink()
    (folder / "notes.txt").write_text("mine")
    evaluate_run(run, train_set, tmp_path / "results")
    chosen = choose_checkpoint(RunFolder(open_location(run)), tmp_path)
    assert chosen is not None and chosen.step == 2
    shutil.copyfile(folder / "model.safetensors", folder / "trainable.safetensors")
    with pytest.raises(DataError, match="checkpoint-4/trainable.safetensors is not in the manifest"):
        evaluate_run(run, train_set, tmp_path / "again")


def test_a_checkpoint_removed_while_it_is_read_is_a_temporary_failure(run: Path, train_set: Path) -> None:
    folder = open_location(run / "checkpoint-2")
    with pytest.raises(TemporaryFailureError, match="removed while it was being read"), unless_removed(folder):
        RunFolder.remove(folder)
        tensors(folder.path)
        load_policy(folder, checked=True)


def test_in_s3_objects_are_compared_and_damaged_copies_are_fetched_again(
    s3, trained: Path, start: Start, train_set: Path, tmp_path: Path
) -> None:
    output, cache = s3.location / "run", tmp_path / "cache"
    upload_tree(trained, output)
    newest = output / "checkpoint-4"
    without = frozenset(RESUME)
    copy = checked_mirror(newest, cache, without)
    flip(copy / "model.safetensors")  # of the copy on this machine only
    assert mirror(newest, cache, without) == copy
    assert checked_mirror(newest, cache, without) == copy
    assert (copy / "model.safetensors").read_bytes() == (trained / "checkpoint-4/model.safetensors").read_bytes()

    data = bytearray((newest / "model.safetensors").read_bytes())
    (newest / "model.safetensors").write_bytes(bytes(data[:-8]))
    with pytest.raises(DataError, match="checkpoint-4/model.safetensors is damaged: it has"):
        evaluate_run(output, train_set, tmp_path / "results", cache=str(tmp_path / "untouched"))
    assert not (tmp_path / "untouched").exists()  # rejected without fetching anything

    data[len(data) // 2] ^= 1
    (newest / "model.safetensors").write_bytes(bytes(data))
    with pytest.raises(DataError, match="checkpoint-4/model.safetensors is damaged: its sha256"):
        evaluate_run(output, train_set, tmp_path / "results", cache=str(cache))
    assert not (tmp_path / "results").exists()
    assert start(output, 6).of("begin")[0]["step"] == 2
    assert [saved.step for saved in RunFolder(output).checkpoints()] == [2, 4, 6]
    checked_mirror(newest, tmp_path / "fresh")


def test_a_base_model_that_changed_after_it_was_pinned_is_rejected(base: Path, trained: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(base, tmp_path / "model"))
    pinned = record_files(open_location(model), ["config.json", "model.safetensors"])
    options = ModelOptions(base=str(model))
    assert base_folder(options, tmp_path, pinned=pinned) == model
    flip(model / "model.safetensors")
    with pytest.raises(DataError, match="model.safetensors of the base model .* has changed since it was pinned"):
        base_folder(options, tmp_path, pinned=pinned)
    other = Path(shutil.copytree(trained / "checkpoint-4", tmp_path / "checkpoint"))
    flip(other / "statistics.json")  # a checkpoint as base has its own manifest
    with pytest.raises(DataError, match="statistics.json is damaged"):
        base_folder(ModelOptions(base=str(other)), tmp_path)


def test_a_checkpoint_of_another_program_needs_no_manifest(trained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained / "checkpoint-4", tmp_path / "checkpoint"))
    (folder / "manifest.json").write_text(json.dumps({"version": 1, "files": []}))
    load_policy(folder, device="cpu")
    (folder / "manifest.json").unlink()
    load_policy(folder, device="cpu")
