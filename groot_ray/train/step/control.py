"""When to interrupt training: stop requests, preemption, and timed checkpoints.

The first worker decides for all, so that all save or stop at the same step. This costs a broadcast, so it happens every
few seconds, not at every step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from groot_ray.train.step.collective import Collective

LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Wish:
    """What to do after the current step: `save` a recovery checkpoint, or `stop` after saving."""

    save: bool = False
    stop: bool = False


NOTHING = Wish()


class Control:
    """Checks every few seconds whether to stop or save.

    Args:
        stop: returns whether the user has asked to stop; called on the first worker only, must return at once.
        preempted: returns whether this machine is about to be preempted; called on every worker at the same step.
        saving: returns whether a checkpoint is still being written, which delays timed ones; called on the first
            worker only.
        recovery_interval: seconds between recovery checkpoints; 0 for none.
        look_seconds: seconds between two checks.
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
        """Restart the clock, because a checkpoint has just been taken."""
        self._saved = time.monotonic()

    def look(self, step: int) -> Wish:
        """What to do after `step`, equal on all workers; every worker calls this after every step."""
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
        """Number of steps until the next check, from the duration of recent steps."""
        now = time.monotonic()
        before, self._looked_at = self._looked_at, (step, now)
        if before is None or step <= before[0]:
            return 1
        seconds = max((now - before[1]) / (step - before[0]), 1e-6)
        return max(1, min(int(self._look_seconds / seconds), 10 * (step - before[0])))
