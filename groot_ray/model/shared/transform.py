"""Small frozen transforms that compose, and whose inverses compose in reverse order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

Values = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Signal:
    """The state or the action of a sample (or of a batch of them) on its way between the robot's units and the model's.

    Attributes:
        values: float arrays [..., T, D] by key, or one array [..., T, sum of D] once `Concatenate` has joined them.
        state: the raw state by key [..., Ts, D], from which RELATIVE actions start.
    """

    values: Values | np.ndarray
    state: Values | None = None

    @property
    def by_key(self) -> Values:
        """The values by key, float [..., T, D] each."""
        assert not isinstance(self.values, np.ndarray)
        return self.values

    @property
    def joined(self) -> np.ndarray:
        """The values as one float array [..., T, sum of D]."""
        assert isinstance(self.values, np.ndarray)
        return self.values

    def having(self, values: Values | np.ndarray) -> Signal:
        """The same signal with other values."""
        return Signal(values, self.state)


class Transform(Protocol):
    """One step from the robot's units to the model's, or back."""

    def __call__(self, signal: Signal) -> Signal:
        """The signal after this step; the given one is unchanged."""
        ...


class Invertible(Transform, Protocol):
    """A step that can be undone."""

    @property
    def inverse(self) -> Transform:
        """The step back."""
        ...


@dataclass(frozen=True)
class Compose:
    """Several steps, first to last; the inverse goes back from the last to the first."""

    steps: tuple[Invertible, ...]

    def __call__(self, signal: Signal) -> Signal:
        """The signal after all steps."""
        for step in self.steps:
            signal = step(signal)
        return signal

    @cached_property
    def inverse(self) -> Chain:
        """The steps' inverses in reverse order."""
        return Chain(tuple(step.inverse for step in reversed(self.steps)))


@dataclass(frozen=True)
class Chain:
    """Several steps, first to last, without an inverse."""

    steps: tuple[Transform, ...]

    def __call__(self, signal: Signal) -> Signal:
        """The signal after all steps."""
        for step in self.steps:
            signal = step(signal)
        return signal
