"""A stage's `status.json` as one line."""

from __future__ import annotations

from typing import Any

from groot_ray.progress import format_duration, format_value


def progress_line(status: dict[str, Any]) -> str:
    """The content of a `status.json` as one line: step, loss, rate and time left."""
    if status.get("state") not in (None, "running"):
        return f"{status['state']}: {status.get('sentence', '')}".rstrip(": ")
    total = status.get("total")
    count = f"{status.get('done', 0):g}{f'/{total:g}' if total else ''}"
    line = f"{status.get('work', '')} {count} {status.get('unit', '')}".strip()
    for name, value in (status.get("fields") or {}).items():
        line += f", {name} {format_value(value)}"
    if status.get("remaining") is not None:
        line += f", {format_duration(status['remaining'])} left"
    return line
