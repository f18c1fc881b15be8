"""Reads the metadata that source and converted datasets share: info.json, tasks.jsonl, episodes.jsonl.

Recorders vary (tasks as text, as numbers, or as a single value); all variants are handled here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from groot_ray.dataset.jsonl import parse_jsonl
from groot_ray.errors import DataError
from groot_ray.storage import Location, NotFoundError

INFO = "meta/info.json"
TASKS = "meta/tasks.jsonl"
EPISODES = "meta/episodes.jsonl"

T = TypeVar("T")


@dataclass(frozen=True)
class SubTask:
    """An instruction for the frames [start, end) of an episode."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Episode:
    """An episode as listed: its number, number of frames, task texts and sub-tasks."""

    index: int
    length: int
    tasks: tuple[str, ...] = ()
    sub_tasks: tuple[SubTask, ...] = ()


def read_info(dataset: Location) -> dict[str, Any]:
    """Read meta/info.json.

    Raises:
        NotFoundError: the file is missing.
        DataError: the file is not a JSON object.
    """
    info = (dataset / INFO).read_json()
    if not isinstance(info, dict):
        raise DataError(f"{dataset.uri}: {INFO} is not a JSON object")
    return info


def read_tasks(dataset: Location) -> dict[int, str]:
    """Read the task texts by task number; empty if there is no meta/tasks.jsonl.

    Raises:
        DataError: a line has no task_index or no task.
    """
    try:
        return dict(_lines(dataset / TASKS, _task, "a number task_index and a text task"))
    except NotFoundError:
        return {}


def read_episodes(dataset: Location, tasks: dict[int, str]) -> list[Episode]:
    """Read meta/episodes.jsonl, in file order; task numbers are looked up in `tasks`.

    Raises:
        DataError: the file is missing or empty, or a line has no episode_index or no length.
    """
    file = dataset / EPISODES
    try:
        episodes = _lines(file, lambda entry: _episode(entry, tasks), "the numbers episode_index and length")
    except NotFoundError:
        raise DataError(f"{file.uri} is missing; it lists the episodes with their lengths") from None
    if not episodes:
        raise DataError(f"{dataset.uri} has no episodes: {EPISODES} is empty")
    return episodes


def _lines(file: Location, parse: Callable[[dict[str, Any]], T], needed: str) -> list[T]:
    parsed = []
    for entry in parse_jsonl(file.read_text(), file.uri):
        try:
            parsed.append(parse(entry))
        except (KeyError, TypeError, ValueError):
            raise DataError(f"{file.uri}: every line needs {needed}, found {entry}") from None
    return parsed


def _task(entry: dict[str, Any]) -> tuple[int, str]:
    text = entry["task"]
    if not isinstance(text, str):
        raise TypeError("a task is a text")
    return int(entry["task_index"]), text


def _episode(entry: dict[str, Any], tasks: dict[int, str]) -> Episode:
    index, length = int(entry["episode_index"]), int(entry["length"])
    if index < 0 or length < 0:
        raise ValueError("numbers count from 0")
    sub_tasks = tuple(SubTask(int(s["start"]), int(s["end"]), str(s["text"])) for s in entry.get("sub_tasks") or [])
    return Episode(index, length, _task_texts(entry, tasks), sub_tasks)


def _task_texts(entry: dict[str, Any], tasks: dict[int, str]) -> tuple[str, ...]:
    """Task texts of a line: a list of texts or of task numbers, or a single one of either."""
    given = entry.get("tasks", entry.get("task"))
    values = given if isinstance(given, list) else [] if given is None else [given]
    texts = (tasks.get(value) if isinstance(value, int) else str(value) for value in values)
    return tuple(text for text in texts if text)
