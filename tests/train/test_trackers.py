from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import pytest

from groot_ray.errors import ConfigurationError
from groot_ray.storage import open_location
from groot_ray.train.recording.trackers import NAMES, TensorBoard, each, require_wandb


def events(folder: Path) -> dict[str, dict[int, float]]:
    """Scalars by tag and step, as TensorBoard would show them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {tag: {event.step: event.value for event in found.Scalars(tag)} for tag in found.Tags()["scalars"]}


def test_tensorboard_has_the_numbers_of_the_log_lines(train, tmp_path: Path) -> None:
    told = train(tmp_path / "run", max_steps=4, logging_steps=2)
    shown = events(tmp_path / "run" / "tensorboard")
    on_gpu = {NAMES["mfu"], NAMES["memory_gib"]}  # numbers that a CPU does not have
    assert shown.keys() == set(NAMES.values()) - on_gpu
    assert shown["train/loss"] == pytest.approx({line["step"]: line["loss"] for line in told.of("line")})


def test_a_resumed_run_hides_what_was_logged_beyond_its_checkpoint(tmp_path: Path) -> None:
    line = {"loss": 1.0, "learning_rate": 0.1, "grad_norm": 1.0, "samples_per_second": 1.0, "data_wait": 0.0}
    first = TensorBoard(open_location(tmp_path), 0)
    for step in (1, 2, 3):
        first.log({**line, "step": step})
    first.close()
    # TensorBoard reads files in the order of their names, which contain the second of creation; restarts are slower.
    made = int(time.time())
    while int(time.time()) == made:
        time.sleep(0.01)
    second = TensorBoard(open_location(tmp_path), 1)
    second.log({**line, "loss": 2.0, "step": 2})
    second.close()
    assert events(tmp_path / "tensorboard")["train/loss"] == {1: 1.0, 2: 2.0}


def test_a_tracker_that_fails_costs_the_run_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def log(self, line: dict) -> None:
            raise OSError("no room")

    with caplog.at_level(logging.WARNING):
        each([Broken()], "log", {})
    assert "no room" in caplog.text


def test_weights_and_biases_continues_the_same_run(train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    options = {"use_wandb": True, "wandb_project": "tests", "experiment_name": "small"}
    train(tmp_path / "run", max_steps=1, **options)
    first = json.loads((tmp_path / "run" / "wandb_config.json").read_text())
    assert first["project"] == "tests" and first["run_id"]
    train(tmp_path / "run", max_steps=2, **options)
    for name in ("wandb_config.json", "checkpoint-2/wandb_config.json"):
        assert json.loads((tmp_path / "run" / name).read_text()) == first


def test_without_the_library_the_advice_is_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigurationError, match=r"groot-ray\[wandb\]"):
        require_wandb()
