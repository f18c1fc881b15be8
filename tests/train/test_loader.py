from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groot_ray.errors import DataError
from groot_ray.train.step.loader import Loader


@given(st.integers(0, 5), st.integers(0, 8), st.integers(1, 3), st.integers(0, 4))
@settings(max_examples=40, deadline=None)
def test_the_order_does_not_depend_on_threads(first: int, steps: int, accumulation: int, threads: int) -> None:
    def make(step: int, micro: int) -> tuple[int, int]:
        time.sleep(0.0005 * ((step * 7 + micro * 3) % 4))  # later ones are often ready first
        return step, micro

    with Loader(make, first, first + steps, accumulation, threads) as loader:
        given_out = [loader.next_step() for _ in range(steps)]
    assert given_out == [[(step, micro) for micro in range(accumulation)] for step in range(first, first + steps)]


def test_batches_are_made_ahead_but_not_without_bound() -> None:
    made: list[int] = []
    lock = threading.Lock()

    def make(step: int, micro: int) -> int:
        with lock:
            made.append(step)
        return step

    with Loader(make, 0, 1000, 1, 2) as loader:
        deadline = time.monotonic() + 5
        while len(made) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert len(made) == 5
        loader.next_step()
        time.sleep(0.05)
        assert len(made) == 6


def test_waiting_is_measured() -> None:
    def make(step: int, micro: int) -> int:
        time.sleep(0.03)
        return step

    with Loader(make, 0, 4, 1, 0) as inline:
        for _ in range(4):
            inline.next_step()
    assert 0.11 < inline.waited < 1
    with Loader(make, 0, 4, 1, 2) as ahead:
        time.sleep(0.3)
        for _ in range(4):
            ahead.next_step()
    assert ahead.waited < 0.1


def test_what_goes_wrong_in_a_thread_reaches_the_loop() -> None:
    def make(step: int, micro: int) -> int:
        if step == 2:
            raise DataError("episode 7 is broken")
        return step

    with Loader(make, 0, 5, 1, 2) as loader:
        assert loader.next_step() == [0]
        assert loader.next_step() == [1]
        with pytest.raises(DataError, match="episode 7"):
            loader.next_step()
