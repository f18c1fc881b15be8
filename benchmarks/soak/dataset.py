"""The recording that the soak works on: a few short ALOHA episodes, in LeRobot v2.1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from groot_ray.video.encode import VideoWriter

LENGTHS = (60, 45, 50, 40)  # frames of each episode
FPS, SIZE, DIMS = 30, 64, 14
CAMERA = "observation.images.top"
TASK = "Hand the cube to the other arm."


def write_dataset(root: Path) -> Path:
    """Write the dataset into a folder, which is created: state and action float32 [T, 14], one 64x64 camera."""
    (root / "meta").mkdir(parents=True)
    rng = np.random.default_rng(0)
    first = 0
    for episode, length in enumerate(LENGTHS):
        time = np.arange(length + 1)[:, None] / FPS
        joints = 0.6 * np.sin(time * rng.uniform(0.5, 2.0, DIMS) + rng.uniform(0, 6, DIMS))
        _write_rows(root / f"data/chunk-000/episode_{episode:06d}.parquet", joints.astype(np.float32), episode, first)
        _write_video(root / f"videos/chunk-000/{CAMERA}/episode_{episode:06d}.mp4", joints[:-1])
        first += length
    _write_meta(root / "meta")
    return root


def _write_rows(path: Path, joints: np.ndarray, episode: int, first: int) -> None:
    """The columns of an episode; the action of a frame is the next frame's state."""
    rows = np.arange(len(joints) - 1)
    columns: dict[str, Any] = {
        "observation.state": pa.array(list(joints[:-1]), type=pa.list_(pa.float32())),
        "action": pa.array(list(joints[1:]), type=pa.list_(pa.float32())),
        "timestamp": pa.array((rows / FPS).astype(np.float32)),
        "frame_index": rows,
        "episode_index": np.full(len(rows), episode),
        "index": rows + first,
        "task_index": np.zeros(len(rows), np.int64),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def _write_video(path: Path, joints: np.ndarray) -> None:
    """A block that moves with the first two joints over a shaded background."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, FPS, SIZE) as writer:
        for row in joints:
            image = np.full((SIZE, SIZE, 3), 90, np.uint8)
            image[..., 2] = np.linspace(0, 200, SIZE, dtype=np.uint8)
            y, x = ((row[:2] + 0.7) / 1.4 * (SIZE - 12)).astype(int)
            image[y : y + 12, x : x + 12] = (230, 60, 40)
            writer.write(image)


def _write_meta(folder: Path) -> None:
    vector = {"dtype": "float32", "shape": [DIMS], "names": None}
    counter = {"dtype": "int64", "shape": [1], "names": None}
    video = {
        "dtype": "video",
        "shape": [SIZE, SIZE, 3],
        "names": ["height", "width", "channels"],
        "info": {"video.fps": FPS, "video.codec": "h264"},
    }
    info = {
        "codebase_version": "v2.1",
        "robot_type": "aloha",
        "total_episodes": len(LENGTHS),
        "total_frames": sum(LENGTHS),
        "total_tasks": 1,
        "total_videos": len(LENGTHS),
        "total_chunks": 1,
        "chunks_size": 1000,
        "fps": FPS,
        "splits": {"train": f"0:{len(LENGTHS)}"},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": {
            "observation.state": vector,
            "action": vector,
            CAMERA: video,
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
            **dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), counter),
        },
    }
    episodes = [{"episode_index": i, "tasks": [TASK], "length": n} for i, n in enumerate(LENGTHS)]
    (folder / "info.json").write_text(json.dumps(info))
    (folder / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in episodes))
    (folder / "tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": TASK}) + "\n")
