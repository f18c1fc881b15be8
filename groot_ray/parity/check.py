"""One compared quantity: its largest difference, its tolerance, and whether it is met."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

ACTIVATION = 1e-5
LOSS = 1e-6


@dataclass(frozen=True)
class Check:
    """A quantity of one part (`network`, `data` ...).

    `ok` is None if it could not be compared; `note` says why. `difference` is the largest one in the unit of
    `tolerance`.
    """

    part: str
    quantity: str
    difference: float | None
    tolerance: float | None
    ok: bool | None
    note: str = ""


def absent(part: str, quantity: str, why: str) -> Check:
    """A quantity that cannot be compared here."""
    return Check(part, quantity, None, None, None, why)


def largest_difference(ours: Any, theirs: Any, scale: Any = 1.0) -> float:
    """Largest difference of two arrays, element by element, over `scale`; infinity if shapes differ or either has
    NaN.
    """
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if a.shape != b.shape:
        return float("inf")
    if not a.size:
        return 0.0
    worst = float((np.abs(a - b) / scale).max())
    return worst if np.isfinite(worst) else float("inf")


def close(
    part: str, quantity: str, ours: Any, theirs: Any, tolerance: float = ACTIVATION, vectors: bool = False
) -> Check:
    """Compare two arrays: the largest difference of an element, relative to the reference's value where that is above
    1.

    With `vectors` it is relative to the largest value of the element's vector (last axis) where that is above 1:
    rounding in the network's sums is proportional to the vector, not to the element.
    """
    theirs = np.asarray(theirs, np.float64)
    size = np.abs(theirs)
    if vectors and theirs.size:
        size = size.max(axis=-1, keepdims=True)
    worst = largest_difference(ours, theirs, np.maximum(1.0, size))
    note = f"shapes {list(np.shape(ours))} and {list(theirs.shape)}" if np.shape(ours) != theirs.shape else ""
    return Check(part, quantity, worst, tolerance, worst <= tolerance, note)


def equal(part: str, quantity: str, ours: Any, theirs: Any, note: str = "") -> Check:
    """Compare two arrays or plain values that must be equal."""
    if isinstance(ours, np.ndarray) or isinstance(theirs, np.ndarray):
        worst = largest_difference(ours, theirs)
        return Check(part, quantity, worst, 0.0, worst == 0.0, note)
    same = ours == theirs
    return Check(
        part,
        quantity,
        0.0 if same else float("inf"),
        0.0,
        same,
        note if same else note or f"{_short(ours)} against {_short(theirs)}",
    )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def guarded(part: str, quantity: str, checks: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """Yield the checks of a function; an error becomes a failed check with the error as its note, so that the others
    still run.
    """
    try:
        yield from checks()
    except Exception as error:
        yield Check(part, quantity, float("inf"), 0.0, False, f"{type(error).__name__}: {error}")
