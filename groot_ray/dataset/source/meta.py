"""The meta files of a LeRobot dataset: its version, episodes and tasks, with the liberties that recorders take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from groot_ray.dataset.jsonl import parse_jsonl
from groot_ray.errors import DataError
from groot_ray.storage import Location, NotFoundError

SUPPORTED = ("v2.0", "v2.1")


@dataclass(frozen=True)
class SourceEpisode:
    """One recorded episode as listed: its number, its number of frames, and its task texts."""

    index: int
    length: int
    tasks: tuple[str, ...] = ()


def read_info(location: Location) -> dict[str, Any]:
    """meta/info.json; raises `DataError` where there is no dataset."""
    try:
        info = (location / "meta/info.json").read_json()
    except NotFoundError:
        if (location / "meta_data/info.json").exists():
            raise _unsupported(location, "v1") from None
        raise DataError(f"{location.uri} is no LeRobot dataset: meta/info.json is missing") from None
    if not isinstance(info, dict):
        raise DataError(f"{location.uri}: meta/info.json holds no object")
    return info


def read_version(location: Location, info: dict[str, Any]) -> str:
    """The format's version; where info.json does not name it, the files that only it has decide."""
    version = str(info.get("codebase_version") or "").strip()
    if not version:
        if not (location / "meta/episodes.jsonl").exists() and (location / "meta/episodes").has_files():
            raise _unsupported(location, "v3")
        return "v2.1" if (location / "meta/episodes_stats.jsonl").exists() else "v2.0"
    normal = version if version.startswith("v") else f"v{version}"
    if normal in SUPPORTED:
        return normal
    raise _unsupported(location, normal)


def _unsupported(location: Location, version: str) -> DataError:
    advice = "convert it to v2.1 with LeRobot's own scripts"
    if version.startswith("v3"):
        advice = (
            "datasets on the hub keep their older form under the revision v2.1 (source.revision: v2.1); else " + advice
        )
    return DataError(f"{location.uri} is in LeRobot format {version}; {' and '.join(SUPPORTED)} are read: {advice}")


def read_tasks(location: Location) -> dict[int, str]:
    """Task texts by task number; none where there is no meta/tasks.jsonl."""
    try:
        entries = parse_jsonl((location / "meta/tasks.jsonl").read_text(), f"{location.uri}/meta/tasks.jsonl")
    except NotFoundError:
        return {}
    tasks: dict[int, str] = {}
    for entry in entries:
        if not isinstance(entry.get("task_index"), int) or not isinstance(entry.get("task"), str):
            raise DataError(
                f"{location.uri}/meta/tasks.jsonl: every line needs a number task_index and a text task, found {entry}"
            )
        tasks[entry["task_index"]] = entry["task"]
    return tasks


def read_episodes(location: Location, tasks: dict[int, str]) -> list[SourceEpisode]:
    """The lines of meta/episodes.jsonl by number; raises `DataError` where they are missing, broken or none."""
    origin = f"{location.uri}/meta/episodes.jsonl"
    try:
        entries = parse_jsonl((location / "meta/episodes.jsonl").read_text(), origin)
    except NotFoundError:
        if (location / "meta/episodes").has_files():
            raise _unsupported(location, "v3") from None
        raise DataError(f"{origin} is missing; it lists the episodes with their lengths") from None
    episodes: list[SourceEpisode] = []
    seen: set[int] = set()
    for entry in entries:
        index, length = entry.get("episode_index"), entry.get("length")
        if not isinstance(index, int) or not isinstance(length, int) or index < 0 or length < 0:
            raise DataError(f"{origin}: every line needs the numbers episode_index and length, found {entry}")
        if index in seen:
            raise DataError(f"{origin} lists episode {index} twice")
        seen.add(index)
        episodes.append(SourceEpisode(index, length, _task_texts(entry, tasks)))
    if not episodes:
        raise DataError(f"{location.uri} has no episodes: meta/episodes.jsonl is empty")
    return sorted(episodes, key=lambda episode: episode.index)


def _task_texts(entry: dict[str, Any], tasks: dict[int, str]) -> tuple[str, ...]:
    """Task texts of a line of episodes.jsonl: a list of texts or of task numbers, or a single one."""
    given = entry.get("tasks", entry.get("task"))
    values = given if isinstance(given, list) else [] if given is None else [given]
    texts = (tasks.get(value) if isinstance(value, int) else str(value) for value in values)
    return tuple(text for text in texts if text)
