"""GR00T's layout (LeRobot v2.1 with a modality.json) as pure functions: paths, metadata, columns of an episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from groot_ray.dataset.jsonl import to_jsonl
from groot_ray.dataset.meta import EPISODES as EPISODES
from groot_ray.dataset.meta import INFO as INFO
from groot_ray.dataset.meta import TASKS as TASKS
from groot_ray.dataset.paths import CHUNK_SIZE, DATA_PATH, VIDEO_PATH
from groot_ray.embodiment import modality
from groot_ray.embodiment.dimensions import dim_names
from groot_ray.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np

    from groot_ray.embodiment.schema import Embodiment
    from groot_ray.storage import Location

VERSION = "v2.1"
MODALITY = "meta/modality.json"
STATS = "meta/stats.json"
RELATIVE_STATS = "meta/relative_stats.json"
EMBODIMENT = "meta/embodiment.json"

STATE_COLUMN = "observation.state"
ACTION_COLUMN = "action"


@dataclass(frozen=True)
class WrittenEpisode:
    """An episode of the converted dataset: its new number, number of frames and task texts."""

    index: int
    length: int
    tasks: tuple[str, ...]


class VideoFormat(NamedTuple):
    """Format of all videos of a converted dataset: edge in pixels, codec and pixel format by FFmpeg's names."""

    size: int
    codec: str
    pixel_format: str = "yuv420p"


def data_path(index: int) -> str:
    """Path of an episode's parquet file below the dataset."""
    return DATA_PATH.format(episode_chunk=index // CHUNK_SIZE, episode_index=index)


def video_path(feature: str, index: int) -> str:
    """Path of an episode's video below the dataset."""
    return VIDEO_PATH.format(episode_chunk=index // CHUNK_SIZE, video_key=feature, episode_index=index)


def choose_part(dataset: Location, part: str, option: str = "") -> Location:
    """The dataset itself, or the part of a conversion's folder that `part` names (train, test, validation).

    Args:
        option: flag that selects another part, for the advice in the error.

    Raises:
        ConfigurationError: neither is a dataset in GR00T's layout.
    """
    if (dataset / INFO).exists():
        return dataset
    if (dataset / part / INFO).exists():
        return dataset / part
    parts = [folder.name for folder in dataset.folders() if (folder / INFO).exists()]
    if not parts:
        raise ConfigurationError(
            f"{dataset.uri} is not a dataset in GR00T's layout: it has no {INFO}; convert one with groot-ray convert"
        )
    advice = f"; or use another part with {option} {parts[0]}" if option else ""
    raise ConfigurationError(
        f"{dataset.uri} has no {part} part, only {', '.join(parts)}: give it episodes when converting "
        f"(--{part}-episodes){advice}"
    )


def info_json(
    embodiment: Embodiment, episodes: Sequence[WrittenEpisode], tasks: Sequence[str], fps: float, video: VideoFormat
) -> dict[str, Any]:
    """Content of meta/info.json.

    Args:
        episodes: all episodes, numbered from 0 without a gap.
        tasks: task texts by task number.
        fps: frames per second of the converted dataset.
    """
    chunks = -(-len(episodes) // CHUNK_SIZE)
    return {
        "codebase_version": VERSION,
        "robot_type": embodiment.robot_type,
        "total_episodes": len(episodes),
        "total_frames": sum(episode.length for episode in episodes),
        "total_tasks": len(tasks),
        "total_videos": len(episodes) * len(embodiment.cameras),
        "total_chunks": chunks,
        "chunks_size": CHUNK_SIZE,
        "fps": _number(fps),
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH,
        "features": features(embodiment, fps, video),
    }


def features(embodiment: Embodiment, fps: float, video: VideoFormat) -> dict[str, Any]:
    """The features of meta/info.json: vectors with named dimensions, cameras under their folder's name, counters."""

    def vector(part: Any) -> dict[str, Any]:
        names = dim_names(embodiment, part, [c.key for c in embodiment.components(part)])
        return {"dtype": "float32", "shape": [len(names)], "names": names}

    camera = {
        "dtype": "video",
        "shape": [video.size, video.size, 3],
        "names": ["height", "width", "channel"],
        "info": {
            "video.fps": float(fps),
            "video.height": video.size,
            "video.width": video.size,
            "video.channels": 3,
            "video.codec": video.codec,
            "video.pix_fmt": video.pixel_format,
            "video.is_depth_map": False,
            "has_audio": False,
        },
    }
    return {
        STATE_COLUMN: vector("state"),
        ACTION_COLUMN: vector("action"),
        **{c.feature: dict(camera) for c in embodiment.cameras},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        **{
            name: {"dtype": "int64", "shape": [1], "names": None}
            for name in ("frame_index", "episode_index", "index", "task_index")
        },
    }


def episode_columns(
    state: np.ndarray,
    action: np.ndarray,
    fps: float,
    episode_index: int,
    first_index: int,
    task_index: np.ndarray | int,
) -> dict[str, np.ndarray]:
    """Columns of a converted episode's parquet file.

    Args:
        state: float32 [T, state_dim].
        action: float32 [T, action_dim].
        fps: frames per second; timestamps are frame / fps, in seconds.
        episode_index: the episode's new number.
        first_index: number of frames in all episodes before it.
        task_index: task number of the episode, or int64 [T] of each frame.

    Returns:
        Columns in order: the two vectors, timestamp float32 [T], and int64 [T] counters.
    """
    import numpy as np

    rows = np.arange(len(state), dtype=np.int64)
    return {
        STATE_COLUMN: np.asarray(state, dtype=np.float32),
        ACTION_COLUMN: np.asarray(action, dtype=np.float32),
        "timestamp": (rows / fps).astype(np.float32),
        "frame_index": rows,
        "episode_index": np.full(len(rows), episode_index, dtype=np.int64),
        "index": rows + first_index,
        "task_index": np.broadcast_to(np.asarray(task_index, dtype=np.int64), rows.shape).copy(),
    }


def modality_json(embodiment: Embodiment) -> dict[str, Any]:
    """Content of meta/modality.json."""
    return modality.modality_json(embodiment)


def embodiment_json(embodiment: Embodiment) -> dict[str, Any]:
    """Content of meta/embodiment.json: the resolved description, so that the dataset is self-describing."""
    return embodiment.to_json()


def episodes_jsonl(episodes: Sequence[WrittenEpisode]) -> str:
    """Content of meta/episodes.jsonl."""
    return to_jsonl({"episode_index": e.index, "tasks": list(e.tasks), "length": e.length} for e in episodes)


def tasks_jsonl(tasks: Sequence[str]) -> str:
    """Content of meta/tasks.jsonl; a task's number is its position."""
    return to_jsonl({"task_index": number, "task": task} for number, task in enumerate(tasks))


def task_numbers(episodes: Sequence[Sequence[str]]) -> dict[str, int]:
    """Number of each task text, in the order of first use over the episodes' tasks."""
    texts = dict.fromkeys(text for tasks in episodes for text in tasks)
    return {text: number for number, text in enumerate(texts)}


def meta_files(
    embodiment: Embodiment, episodes: Sequence[WrittenEpisode], tasks: Sequence[str], fps: float, video: VideoFormat
) -> Mapping[str, Any]:
    """All metadata files except the statistics, by path: JSON data, or text for ``.jsonl`` files."""
    return {
        INFO: info_json(embodiment, episodes, tasks, fps, video),
        MODALITY: modality_json(embodiment),
        EMBODIMENT: embodiment_json(embodiment),
        EPISODES: episodes_jsonl(episodes),
        TASKS: tasks_jsonl(tasks),
    }


def _number(value: float) -> int | float:
    """Return an integral value as an int, since other tools expect an fps without a decimal point."""
    return int(value) if float(value).is_integer() else float(value)
