from __future__ import annotations

import logging

import pytest

from groot_ray.progress import Progress
from groot_ray.train.ray import follower
from groot_ray.train.ray.follower import Follower


@pytest.mark.parametrize(("workers", "told"), [(2, True), (0, False)])
def test_only_ray_workers_are_waited_for(
    workers: int, told: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(follower, "SHORTAGE_SECONDS", -1.0)
    asked: list[str] = []

    def resources(kind: str) -> tuple[float, float]:
        asked.append(kind)
        return 1.0, 0.0

    follow = Follower(Progress("finetune"), 1, resources)
    follow.begin(workers, use_gpu=True)
    with caplog.at_level(logging.WARNING):
        follow.take([])
    assert asked == (["GPU"] if told else [])
    assert ("no training worker has started yet" in caplog.text) == told


def test_workers_that_load_their_model_are_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    follow = Follower(Progress("finetune"), 1, lambda kind: (2.0, 0.0))
    follow.begin(2, use_gpu=True)
    follow.take([{"kind": "up"}])
    monkeypatch.setattr(follower, "SHORTAGE_SECONDS", -1.0)
    with caplog.at_level(logging.WARNING):
        follow.take([])
    assert not caplog.text


def test_a_restart_goes_back_to_its_step(caplog: pytest.LogCaptureFixture) -> None:
    progress = Progress("finetune", 100)
    follow = Follower(progress, 100, lambda kind: (2.0, 2.0))
    line = {"kind": "line", "loss": 1.0, "learning_rate": 1e-4, "grad_norm": 1.0, "samples_per_second": 8.0}
    follow.take([{"kind": "begin", "step": 0}, {**line, "step": 40, "data_wait": 0.0}])
    assert progress.done == 40
    follow.take([{"kind": "begin", "step": 20}])
    assert progress.done == 20
    follow.take([{**line, "step": 30, "data_wait": 0.0}])
    assert progress.done == 30
