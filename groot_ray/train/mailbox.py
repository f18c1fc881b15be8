"""What training workers tell the launcher. A module of its own, since its actor's process imports what is in it, and nothing of torch's."""

from __future__ import annotations

from typing import Any


class Mailbox:
    """Holds what workers tell until the launcher takes it; an actor."""

    def __init__(self) -> None:
        self._events: list[dict[str, Any]] = []

    def put(self, event: dict[str, Any]) -> None:
        self._events.append(event)

    def take(self) -> list[dict[str, Any]]:
        events, self._events = self._events, []
        return events
