from __future__ import annotations

import logging

import pytest

from groot_ray.progress import Progress
from groot_ray.train import follower
from groot_ray.train.follower import Follower


@pytest.mark.parametrize(("workers", "told"), [(2, True), (0, False)])
def test_only_workers_of_a_ray_are_waited_for(
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
