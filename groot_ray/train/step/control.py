"""When to look up from training: stop requests, preemption, and checkpoints by the clock.

The first worker decides and tells the others, so that all leave the loop or save at the same step. That costs a broadcast, so it is
done every few seconds' worth of steps, not at each.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from groot_ray.train.step.collective import Collective

LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Wish:
    """What is to be done after the step just taken: `save` a checkpoint for going on after a failure, `stop` after saving."""

    save: bool = False
    stop: bool = False


NOTHING = Wish()


class Control:
    """Asks every few seconds whether to stop or to save.

    Args:
        stop: whether a person has asked for the end; asked on the first worker only, must answer at once.
        preempted: whether this machine is about to be taken away; asked on every worker at the same step.
        saving: whether a checkpoint is still being written; the clock asks for none meanwhile. Asked on the first worker only.
        recovery_interval: seconds between checkpoints that are only for going on; 0 for none.
    """

    def __init__(
        self,
        collective: Collective,
        stop: Callable[[], bool],
        preempted: Callable[[], bool],
        saving: Callable[[], bool],
        recovery_interval: float,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._collective = collective
        self._stop = stop
        self._preempted = preempted
        self._saving = saving
        self._interval = recovery_interval
        self._look_seconds = min(look_seconds, recovery_interval) if recovery_interval else look_seconds
        self._next: int | None = None
        self._looked_at: tuple[int, float] | None = None
        self._saved = time.monotonic()
        self._saved_for_preemption = False

    def saved(self) -> None:
        """A checkpoint has just been made: the clock starts anew."""
        self._saved = time.monotonic()

    def look(self, step: int) -> Wish:
        """The wish after `step`, the same on all workers; all of them call this after every step."""
        if self._next is not None and step < self._next:
            return NOTHING
        preempted = self._preempted() and not self._saved_for_preemption
        self._saved_for_preemption = self._saved_for_preemption or preempted
        overdue = self._interval > 0 and time.monotonic() - self._saved >= self._interval and not self._saving()
        wish, self._next = self._collective.decide(
            (Wish(preempted or overdue, self._stop()), step + self._stride(step))
        )
        return wish

    def _stride(self, step: int) -> int:
        """How many steps fit between two looks, from the time that the last ones took."""
        now = time.monotonic()
        before, self._looked_at = self._looked_at, (step, now)
        if before is None or step <= before[0]:
            return 1
        seconds = max((now - before[1]) / (step - before[0]), 1e-6)
        return max(1, min(int(self._look_seconds / seconds), 10 * (step - before[0])))
