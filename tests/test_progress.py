"""Counts, rates and the time left."""

from __future__ import annotations

import pytest

from groot_ray import progress
from groot_ray.progress import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_time_left_is_that_of_the_last_minute(clock: list[float]) -> None:
    work = Progress("finetune", 1000)
    clock[0] += 600  # workers start
    work.resume(100)
    for _ in range(10):
        clock[0] += 2
        work.advance(10)
    assert work.snapshot().rate == pytest.approx(5) and work.snapshot().remaining == pytest.approx(160)
    for _ in range(100):  # ten times slower from here on
        clock[0] += 2
        work.advance(1)
    assert work.snapshot().rate == pytest.approx(0.5)
    clock[0] += 300  # a worker is lost, and the last checkpoint is some steps back
    work.resume(250)
    assert work.snapshot().done == 250 and work.snapshot().rate == 0 and work.snapshot().remaining is None
    clock[0] += 2
    work.advance(10)
    assert work.snapshot().rate == pytest.approx(5)


def test_slow_counts_have_a_rate_too_and_quick_ones_are_not_kept(clock: list[float]) -> None:
    work = Progress("convert", 100, "episodes")
    for _ in range(30):
        clock[0] += 300
        work.advance()
    assert work.snapshot().rate == pytest.approx(1 / 300)
    for _ in range(100_000):
        clock[0] += 0.001
        work.advance()
    assert len(work._marks) < 300
