"""Merging values as Helm does."""

from __future__ import annotations

from typing import Any


def merged(defaults: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Merge mappings as Helm merges values: keys of `given` win, mappings are merged, lists are replaced."""
    result = dict(defaults)
    for key, value in given.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result
