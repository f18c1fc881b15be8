"""What a check found out: the words that `groot-ray doctor` prints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from groot_ray.errors import GrootRayError

Level = Literal["ok", "note", "warning", "problem"]
MARKS: dict[Level, str] = {"ok": "✓", "note": "·", "warning": "!", "problem": "✗"}


@dataclass(frozen=True)
class Finding:
    """What a check found out about `subject`: `ok`, a `note` (nobody can know from here), a `warning` (it may be right), a `problem`."""

    level: Level
    subject: str
    sentence: str

    def __str__(self) -> str:
        return f"{MARKS[self.level]} {self.subject}: {self.sentence}"


def guarded(subject: str, run: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Findings of a check; an error that is meant for people becomes one of them."""
    found: list[Finding] = []
    try:
        found.extend(run())
    except GrootRayError as error:
        found.append(Finding("problem", subject, str(error)))
    return found
