"""Runs whose dataset, base model and output are in an S3 service."""

from __future__ import annotations

from pathlib import Path

from training import Recorder, largest_difference

from groot_ray.experiment.schema import ModelOptions, TrainingOptions
from groot_ray.storage import download_tree, upload_tree
from groot_ray.train.checkpoints.run_folder import RunFolder
from groot_ray.train.plan import FinetunePlan
from groot_ray.train.step.collective import Alone
from groot_ray.train.worker import train_worker


def test_a_run_in_s3_resumes_and_equals_a_local_one(s3, train, train_set: Path, base: Path, tmp_path: Path) -> None:
    upload_tree(train_set, s3.location / "set")
    upload_tree(base, s3.location / "base")
    output = s3.location / "runs/one"

    def run(max_steps: int) -> Recorder:
        recorder = Recorder()
        training = TrainingOptions(
            global_batch_size=4,
            max_steps=max_steps,
            learning_rate=1e-3,
            save_steps=2,
            logging_steps=1,
            recovery_interval=0,
        )
        model = ModelOptions(base=(s3.location / "base").uri)
        cache = str(tmp_path / "cache")
        plan = FinetunePlan(s3.location / "set", output, model, training, cache=cache)
        train_worker(plan, Alone(), recorder.host())
        return recorder

    run(4)
    told = run(6)
    assert told.of("begin")[0]["step"] == 4
    assert [saved.step for saved in RunFolder(output).checkpoints()] == [2, 4, 6]
    assert any(entry.relative.startswith("events") for entry in (output / "tensorboard").list())
    # No temporary copies are left behind.
    assert not [path for path in (tmp_path / "cache").rglob("*.safetensors") if "base" not in str(path)]
    download_tree(output / "checkpoint-6", tmp_path / "fetched")
    train(tmp_path / "local", max_steps=4, save_steps=2)
    train(tmp_path / "local", max_steps=6, save_steps=2)
    assert largest_difference(tmp_path / "fetched", tmp_path / "local" / "checkpoint-6") == 0
