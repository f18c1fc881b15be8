"""The learning rate as a pure function of (step, phases).

A run begins with one phase, its schedule over `max_steps`. When it is asked for more (or fewer) steps later, a phase is appended that
counts from the step reached: from there on the schedule is that of a run with the new number of steps. Nothing else is remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from groot_ray.train.step.optimizer import learning_rate


@dataclass(frozen=True)
class Phase:
    """From optimizer step `start` (counted from 0) on, the schedule is that of a run of `max_steps`."""

    start: int
    max_steps: int

    def to_json(self) -> dict[str, int]:
        return {"start": self.start, "max_steps": self.max_steps}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Phase:
        return cls(int(data["start"]), int(data["max_steps"]))


def phase_of(step: int, phases: Sequence[Phase]) -> Phase:
    """The last phase that has begun at `step`."""
    return next(phase for phase in reversed(phases) if phase.start <= step)


def scheduled_rate(step: int, phases: Sequence[Phase], base_lr: float, warmup_ratio: float) -> float:
    """Learning rate of optimizer step `step` (counted from 0)."""
    return learning_rate(step, phase_of(step, phases).max_steps, warmup_ratio, base_lr)


def next_phases(phases: Sequence[Phase], reached: int, max_steps: int) -> list[Phase]:
    """The phases of a run that has `reached` a step and is to go to `max_steps`: unchanged where the last one says so already."""
    if phases and phases[-1].max_steps == max_steps:
        return list(phases)
    return [*phases, Phase(reached if phases else 0, max_steps)]
