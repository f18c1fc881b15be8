"""A run written by version 0.1.0 resumes and ends as it would have ended with that version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from training import Recorder, history, tensors

from groot_ray.experiment.schema import ModelOptions, TrainingOptions
from groot_ray.storage import open_location

WRITTEN = Path(__file__).parents[1] / "fixtures" / "run_0_1_0"
OPTIONS = {
    "global_batch_size": 4,
    "max_steps": 6,
    "learning_rate": 1e-3,
    "save_steps": 2,
    "logging_steps": 2,
    "recovery_interval": 0,
    "state_dropout_prob": 0.2,
    "color_jitter_params": {"brightness": 0.2, "hue": 0.1},
}
# A bias of the keys adds the same to all scores of a query, so softmax removes it. Its gradient is only rounding
# (1e-11; 5e-5 and more elsewhere), which Adam scales up. Other instruction sets or threads moved it by up to
# 3.5e-5, and all other weights by 3e-8.
KEY_BIAS = ".attn1.to_k.bias"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run; its identity names the base checkpoint by a relative path."""
    monkeypatch.chdir(shutil.copytree(WRITTEN, tmp_path / "written"))
    return Path("run").absolute()


@pytest.mark.parametrize(("newest", "step"), [("recovery/step-3", 3), ("checkpoint-2", 2)])
def test_a_run_of_0_1_0_resumes_and_ends_with_its_losses_and_weights(run: Path, newest: str, step: int) -> None:
    from groot_ray.train.plan import FinetunePlan
    from groot_ray.train.step.collective import Alone
    from groot_ray.train.worker import train_worker

    if newest != "recovery/step-3":
        shutil.rmtree(run / "recovery")
    identity = (run / "run.json").read_bytes()
    plan = FinetunePlan(
        open_location("dataset"),
        open_location(run),
        ModelOptions(base="base"),
        TrainingOptions(**OPTIONS),
        tag="NEW_EMBODIMENT",
        cache="cache",
    )
    recorder = Recorder()
    train_worker(plan, Alone(), recorder.host())

    assert recorder.of("begin")[0]["step"] == step
    assert (run / "run.json").read_bytes() == identity
    ended = json.loads((WRITTEN / "ended.json").read_text())
    losses = history(run / "checkpoint-6")
    assert {str(step): loss for step, loss in losses.items()} == pytest.approx(ended["losses"], rel=1e-6)
    weights = tensors(run / "checkpoint-6")
    for name, value in tensors(WRITTEN).items():  # CPUs round differently; on the one that wrote the run they are equal
        largest = 1e-4 if name.endswith(KEY_BIAS) else 1e-6
        assert float((weights[name] - value).abs().max()) < largest, name
