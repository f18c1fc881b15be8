"""JSON lines, as LeRobot and GR00T keep episodes and tasks."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from groot_ray.errors import DataError


def parse_jsonl(text: str, origin: str) -> list[dict[str, Any]]:
    """Parse one JSON object per line; empty lines are skipped.

    Raises:
        DataError: a line is not a JSON object; the message names the file and the line.
    """
    entries = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{origin}, line {number}: not valid JSON ({error.msg})") from None
        except (RecursionError, ValueError):
            raise DataError(f"{origin}, line {number}: not valid JSON (too deep, or a number is too long)") from None
        if not isinstance(entry, dict):
            raise DataError(
                f"{origin}, line {number}: expected an object such as {{...}}, found {type(entry).__name__}"
            )
        entries.append(entry)
    return entries


def to_jsonl(entries: Iterable[dict[str, Any]]) -> str:
    """One JSON object per line."""
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
