"""Reads the `features` of an info.json: columns and cameras, their widths, the names of their dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

PREFIX = "observation.images."


def cameras(features: Mapping[str, Any]) -> list[str]:
    """Names of the features stored as videos, in order."""
    return [
        name for name, feature in features.items() if isinstance(feature, Mapping) and feature.get("dtype") == "video"
    ]


def width(features: Mapping[str, Any], column: str) -> int | None:
    """Declared number of dimensions of a column; None if not declared."""
    feature = features.get(column)
    shape = feature.get("shape") if isinstance(feature, Mapping) else None
    if isinstance(shape, Sequence) and len(shape) == 1 and isinstance(shape[0], int):
        return int(shape[0])
    return None


def dimension_names(features: Mapping[str, Any], column: str) -> list[str] | None:
    """Names of a column's dimensions, however nested; None if there are none or too few.

    Recorders write a list, a list in a list, ``{"motors": [...]}``, a mapping of several lists, or a mapping of name
    to position.
    """
    feature = features.get(column)
    if not isinstance(feature, Mapping):
        return None
    names = _flatten(feature.get("names"))
    declared = width(features, column)
    if not names or (declared is not None and len(names) != declared):
        return None
    return names


def _flatten(names: Any) -> list[str]:
    if isinstance(names, str):
        return [names]
    if isinstance(names, Mapping):
        if names and all(isinstance(position, int) for position in names.values()):
            return [str(name) for name, _ in sorted(names.items(), key=lambda item: item[1])]
        return [name for inner in names.values() for name in _flatten(inner)]
    if isinstance(names, Sequence):
        return [name for inner in names for name in _flatten(inner)]
    return []


def camera_spellings(name: str) -> list[str]:
    """Names under which the same camera's folder may be found: as given, without and with ``observation.images.``."""
    bare = name.removeprefix(PREFIX)
    return list(dict.fromkeys([name, bare, PREFIX + bare]))


def find_camera(features: Mapping[str, Any], name: str) -> str | None:
    """The video feature of a camera's name, given with or without prefix; None if there is none."""
    known = cameras(features)
    return next((spelling for spelling in camera_spellings(name) if spelling in known), None)
