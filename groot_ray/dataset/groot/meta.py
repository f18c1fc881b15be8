"""The meta files of a local dataset in GR00T's layout: info.json, episodes.jsonl, tasks.jsonl, modality.json, statistics."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from groot_ray.dataset.groot import layout
from groot_ray.dataset.groot.modality import Modality, parse_modality
from groot_ray.dataset.jsonl import parse_jsonl
from groot_ray.errors import ConfigurationError, DataError

if TYPE_CHECKING:
    from groot_ray.embodiment.schema import Embodiment
    from groot_ray.storage import Location

T = TypeVar("T")


@dataclass(frozen=True)
class SubTask:
    """An instruction for the frames [start, end) of an episode."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class GrootEpisode:
    """An episode as listed: its number, listed number of frames, task texts and sub-tasks."""

    index: int
    length: int
    tasks: tuple[str, ...] = ()
    sub_tasks: tuple[SubTask, ...] = ()


def read_info(root: Path) -> dict[str, Any]:
    """meta/info.json; raises `DataError` where the folder is no dataset, naming a part of it that is."""
    if not root.is_dir():
        raise DataError(f"dataset folder {root} does not exist")
    if not (root / layout.INFO).is_file():
        part = next((p for p in ("train", "test", "validation") if (root / p / layout.INFO).is_file()), None)
        advice = f"name one of its parts, such as {root / part}" if part else "convert one with: groot-ray convert"
        raise DataError(f"{root} is no dataset in GR00T's layout: {layout.INFO} is missing; {advice}")
    info = read_json(root / layout.INFO)
    if not isinstance(info, dict):
        raise DataError(f"{root / layout.INFO} holds no object")
    return info


def read_modality(root: Path) -> Modality:
    """meta/modality.json; raises `DataError`."""
    advice = "it maps modality keys to columns; convert the recordings with groot-ray convert, which writes it"
    return parse_modality(read_json(root / layout.MODALITY, advice), str(root / layout.MODALITY))


def read_tasks(root: Path) -> dict[int, str]:
    """Task texts by task number; none where there is no meta/tasks.jsonl."""
    file = root / layout.TASKS
    return dict(_lines(file, lambda entry: (int(entry["task_index"]), str(entry["task"])))) if file.is_file() else {}


def read_episodes(root: Path) -> list[GrootEpisode]:
    """The lines of meta/episodes.jsonl, in their order; raises `DataError` where there are none."""
    file = root / layout.EPISODES
    if not file.is_file():
        raise DataError(f"{file} is missing; it lists the episodes with their lengths")
    episodes = _lines(file, _episode)
    if not episodes:
        raise DataError(f"{root} has no episodes: {layout.EPISODES} is empty")
    return episodes


def read_embodiment(dataset: Location) -> Embodiment | None:
    """The description that a dataset was converted with; None where another program wrote it.

    Raises:
        DataError: the file is there and is none.
    """
    from groot_ray.embodiment.load import load_embodiment

    file = dataset / layout.EMBODIMENT
    if not file.exists():
        return None
    try:
        return load_embodiment(file.read_json())
    except ConfigurationError as error:
        raise DataError(f"{file.uri} is no embodiment description: {error}") from None


def read_statistics(root: Path, name: str) -> dict[str, dict[str, Any]]:
    """meta/stats.json or meta/relative_stats.json; raises `DataError` with the command that makes it."""
    content = read_json(root / name, f"make it with: groot-ray stats {root}")
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        raise DataError(f"{root / name} holds no statistics; make it anew with: groot-ray stats {root}")
    return content


def read_json(file: Path, advice: str = "") -> Any:
    """A JSON file; raises `DataError` for a missing or broken one, with `advice` for a missing one."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{file} is missing; {advice}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{file} is not valid JSON ({error})") from None


def _lines(file: Path, parse: Callable[[dict[str, Any]], T]) -> list[T]:
    parsed = []
    for entry in parse_jsonl(file.read_text(encoding="utf-8"), str(file)):
        try:
            parsed.append(parse(entry))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{file} has a line that cannot be used ({type(error).__name__}: {error}): {entry}"
            ) from None
    return parsed


def _episode(entry: dict[str, Any]) -> GrootEpisode:
    tasks = entry.get("tasks") or []
    return GrootEpisode(
        int(entry["episode_index"]),
        int(entry["length"]),
        tuple(str(task) for task in (tasks if isinstance(tasks, list) else [tasks])),
        tuple(SubTask(int(s["start"]), int(s["end"]), str(s["text"])) for s in entry.get("sub_tasks") or []),
    )
