from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from groot_ray.errors import StoppedError
from groot_ray.train.step.collective import Alone, first_does
from groot_ray.train.step.control import NOTHING, Control, Wish


class Lockstep:
    """Workers as threads; the first one decides, as with torch.distributed."""

    group = None

    def __init__(self, rank: int, world_size: int, barrier: threading.Barrier, box: list[Any]) -> None:
        self.rank, self.world_size, self._barrier, self._box = rank, world_size, barrier, box

    def sum(self, values: Any) -> Any:
        raise NotImplementedError

    def decide(self, choice: Any) -> Any:
        if self.rank == 0:
            self._box[0] = choice
        self._barrier.wait(timeout=30)
        decided = self._box[0]
        self._barrier.wait(timeout=30)
        return decided


def in_threads(world_size: int, work: Callable[[Lockstep], Any]) -> list[Any]:
    barrier, box = threading.Barrier(world_size), [None]
    results: list[Any] = [None] * world_size

    def run(rank: int) -> None:
        results[rank] = work(Lockstep(rank, world_size, barrier, box))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(world_size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return results


def test_all_workers_decide_the_same_at_the_same_steps() -> None:
    def work(collective: Lockstep) -> list[Wish]:
        asked = collective.rank == 0
        control = Control(
            collective, lambda: asked and time.monotonic() > begun + 0.2, lambda: False, lambda: False, 0.05, 0.02
        )
        wishes = []
        for step in range(1, 200):
            time.sleep(0.001 * (1 + collective.rank))  # workers differ in speed
            wishes.append(control.look(step))
            if wishes[-1].save:
                control.saved()
            if wishes[-1].stop:
                break
        return wishes

    begun = time.monotonic()
    one, other, third = in_threads(3, work)
    assert one == other == third
    assert one[-1].stop and sum(wish.save for wish in one) >= 2


def test_the_clock_asks_for_recovery_and_restarts_after_saving() -> None:
    control = Control(Alone(), lambda: False, lambda: False, lambda: False, 0.05)
    assert control.look(1) == NOTHING
    time.sleep(0.06)
    assert control.look(2) == Wish(save=True)
    control.saved()
    assert control.look(3) == NOTHING


def test_the_clock_waits_for_a_save_in_progress() -> None:
    busy = [True]
    control = Control(Alone(), lambda: False, lambda: False, lambda: busy[0], 0.001)
    time.sleep(0.01)
    assert [control.look(step) for step in (1, 2)] == [NOTHING, NOTHING]
    busy[0] = False
    assert Wish(save=True) in [control.look(step) for step in range(3, 30)]


def test_no_recovery_without_an_interval() -> None:
    control = Control(Alone(), lambda: False, lambda: False, lambda: False, 0, look_seconds=0)
    assert all(control.look(step) == NOTHING for step in range(1, 50))


def test_preemption_saves_once() -> None:
    control = Control(Alone(), lambda: False, lambda: True, lambda: False, 0, look_seconds=0)
    wishes = [control.look(step) for step in range(1, 20)]
    assert sum(wish.save for wish in wishes) == 1 and not any(wish.stop for wish in wishes)


def test_checks_are_rare_when_steps_are_quick() -> None:
    looks: list[int] = []

    def stop() -> bool:
        looks.append(1)
        return False

    control = Control(Alone(), stop, lambda: False, lambda: False, 0, look_seconds=0.5)
    begun = time.monotonic()
    step = 0
    while time.monotonic() - begun < 1.0:
        step += 1
        control.look(step)
        time.sleep(0.0005)
    assert step > 200 and len(looks) < 12


def test_what_stops_the_first_worker_stops_all() -> None:
    """The user may request a stop while workers are still starting; only the first one checks."""

    def refuse() -> int:
        raise StoppedError("asked to stop")

    def work(collective: Lockstep) -> str:
        assert first_does(collective, lambda: collective.rank + 7) == 7
        try:
            first_does(collective, refuse)
        except StoppedError as error:
            return str(error)
        return "went on"

    assert in_threads(3, work) == ["asked to stop"] * 3
