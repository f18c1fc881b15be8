"""The learning rate as a pure function of (step, phases).

A run begins with one phase, its schedule over `max_steps`. When a later start asks for more (or fewer) steps, a phase
is appended that begins at the step reached. From there the schedule is that of a run with the new number of steps. The
steps of a schedule are always counted from the beginning of the run, so nothing else has to be stored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Phase:
    """From optimizer step `start` (counted from 0) on, the schedule of a run of `max_steps` applies."""

    start: int
    max_steps: int

    def to_json(self) -> dict[str, int]:
        """Content of ``phases/<n>.json``."""
        return {"start": self.start, "max_steps": self.max_steps}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Phase:
        """Read the content of ``phases/<n>.json``."""
        return cls(int(data["start"]), int(data["max_steps"]))


def phase_of(step: int, phases: Sequence[Phase]) -> Phase:
    """The phase that `step` belongs to: the last one that has started."""
    return next(phase for phase in reversed(phases) if phase.start <= step)


def scheduled_rate(step: int, phases: Sequence[Phase], base_lr: float, warmup_ratio: float) -> float:
    """Learning rate of optimizer step `step` (counted from 0)."""
    return learning_rate(step, phase_of(step, phases).max_steps, warmup_ratio, base_lr)


def learning_rate(step: int, max_steps: int, warmup_ratio: float, peak: float) -> float:
    """Learning rate of the update from `step` to `step + 1`.

    Linear warm-up over ceil(ratio * max_steps) steps, then a cosine to 0.
    Loshchilov and Hutter, "SGDR" (2017), one cycle without restarts.
    """
    warmup = math.ceil(warmup_ratio * max_steps)
    if step < warmup:
        return peak * step / max(1, warmup)
    done = (step - warmup) / max(1, max_steps - warmup)
    return peak * max(0.0, 0.5 * (1.0 + math.cos(math.pi * done)))


def next_phases(phases: Sequence[Phase], reached: int, max_steps: int) -> list[Phase]:
    """The phases of a run that has `reached` a step and is to train until `max_steps`.

    They stay unchanged if the last one already ends at `max_steps`.
    """
    if phases and phases[-1].max_steps == max_steps:
        return list(phases)
    return [*phases, Phase(reached if phases else 0, max_steps)]
