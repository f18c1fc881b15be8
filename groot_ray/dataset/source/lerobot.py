"""Common to all versions of LeRobot's format: detecting the version, and advice for unsupported ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from groot_ray.dataset.meta import EPISODES, INFO, read_info
from groot_ray.errors import DataError
from groot_ray.storage import Location, NotFoundError

METADATA = ("meta/", "meta_data/")


def is_metadata(path: str) -> bool:
    """Whether a path is in the metadata folder, in any version."""
    return path.startswith(METADATA)


def detect_version(location: Location) -> str | None:
    """The version of a LeRobot dataset, such as ``v2.1``; None if there is no LeRobot dataset.

    If info.json does not name it, files specific to one version decide: ``v1``, ``v3``, ``v2.1`` or ``v2.0``.
    """
    try:
        info = read_info(location)
    except NotFoundError:
        return "v1" if (location / "meta_data/info.json").exists() else None
    version = declared_version(info)
    if not (location / EPISODES).exists() and (location / "meta/episodes").has_files():
        return version if version.startswith("v3") else "v3"
    if version:
        return version
    return "v2.1" if (location / "meta/episodes_stats.jsonl").exists() else "v2.0"


def declared_version(info: dict[str, Any]) -> str:
    """The version that an info.json names, with its ``v``; empty if it names none."""
    version = str(info.get("codebase_version") or "").strip()
    return version if version.startswith("v") or not version else f"v{version}"


def unreadable(location: Location, versions: Sequence[str]) -> DataError:
    """The error for a dataset that no known format supports; `versions` are the supported ones."""
    version = detect_version(location)
    if version is None:
        return DataError(f"{location.uri} is not a LeRobot dataset: {INFO} is missing")
    advice = "convert it to v2.1 with LeRobot's own scripts"
    if version.startswith("v3"):
        advice = (
            "datasets on the hub keep their older form under the revision v2.1 (source.revision: v2.1); else " + advice
        )
    read = " and ".join(versions)
    return DataError(f"{location.uri} is in LeRobot format {version}; only {read} are supported: {advice}")
