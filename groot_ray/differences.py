"""Differences between plain data by dotted name; they explain why a stage reruns or a run cannot be continued."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Difference:
    """A value that differs. Its text is `name old, not new`, each value cut to 60 characters."""

    name: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.name} {_short(self.before)}, not {_short(self.after)}"


def differences(before: Any, after: Any, name: str = "") -> Iterator[Difference]:
    """Compare JSON data, mappings key by key; a missing key equals None, since older versions lack newer keys."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from differences(before.get(key), after.get(key), f"{name}.{key}" if name else str(key))
    elif before != after:
        yield Difference(name, before, after)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
