"""The result of a check, as `groot-ray doctor` prints it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from groot_ray.errors import GrootRayError

Level = Literal["ok", "note", "warning", "problem"]
MARKS: dict[Level, str] = {"ok": "✓", "note": "·", "warning": "!", "problem": "✗"}


@dataclass(frozen=True)
class Finding:
    """The result of a check of `subject`.

    Levels: `ok`; `note`, cannot be known from here; `warning`, may be intended; `problem`, will fail.
    """

    level: Level
    subject: str
    sentence: str

    def __str__(self) -> str:
        return f"{MARKS[self.level]} {self.subject}: {self.sentence}"


def guarded(subject: str, run: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """The findings of a check; a GrootRayError becomes one of them."""
    found: list[Finding] = []
    try:
        found.extend(run())
    except GrootRayError as error:
        found.append(Finding("problem", subject, str(error)))
    return found
