"""Small datasets that tests write: a recording of a Trossen AI Mobile as it comes from the robot."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from groot_ray.embodiment.mapping import map_columns
from groot_ray.embodiment.modality import modality_configs
from groot_ray.video.scheduling import kept_scheduling

BALL2_CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")
BALL2_TASK = "Pick up the ball with the left arm and hand it to the right arm."
ARM = ["waist", "shoulder", "elbow", "forearm_roll", "wrist_pitch", "wrist_roll", "gripper"]
STATE_NAMES = [
    "odom_x",
    "odom_y",
    "odom_theta",
    "lin_vel",
    "ang_vel",
    *(f"{side}_{n}" for side in ("left", "right") for n in ARM),
]
ACTION_NAMES = ["lin_vel", "ang_vel", *(f"{side}_{n}" for side in ("left", "right") for n in ARM)]
ENCODERS = {
    "av1": ("libsvtav1", {"preset": "12", "svtav1-params": "lp=1:keyint=2"}),
    "h264": ("libx264", {"preset": "ultrafast"}),
}


def write_ball2(
    path: Path | str,
    episodes: int | list[int] = 4,
    frames: int = 60,
    fps: int = 30,
    size: tuple[int, int] = (480, 640),
    codec: str = "av1",
    cameras: tuple[str, ...] = BALL2_CAMERAS,
    tasks: tuple[str, ...] = (BALL2_TASK,),
    info: dict[str, Any] | None = None,
    seed: int = 0,
) -> Path:
    """Write a dataset like the in-house recordings: LeRobot v2.1, six columns, video folders named by camera alone.

    Args:
        path: folder to create.
        episodes: how many, or the number of frames of each.
        frames: frames of each episode when `episodes` is a number.
        size: height and width of the images.
        codec: av1 or h264.
        tasks: given to the episodes in turn.
        info: keys of info.json to replace; None as a value removes the key.

    Returns:
        The folder. State float32 [T, 19], action float32 [T, 16]; the action is the state a moment later, and the
        cameras show motion that follows the arms, so that a model can learn it.
    """
    root = Path(path)
    lengths = [frames] * episodes if isinstance(episodes, int) else list(episodes)
    (root / "meta").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for index, length in enumerate(lengths):
        state, action = ball2_trajectory(length, fps, phase=float(rng.uniform(0, 2 * np.pi)))
        write_parquet(
            root / f"data/chunk-000/episode_{index:06d}.parquet",
            ball2_columns(state, action, fps, index, index % len(tasks)),
        )
        for number, camera in enumerate(cameras):
            video = root / f"videos/chunk-000/{camera}/episode_{index:06d}.mp4"
            write_video(video, (ball2_picture(row, number, size) for row in state), fps, size, codec)
    content = ball2_info(lengths, fps, size, codec, cameras, len(tasks)) | (info or {})
    content = {key: value for key, value in content.items() if value is not None}
    (root / "meta/info.json").write_text(json.dumps(content, indent=2))
    lines = [{"episode_index": i, "tasks": [tasks[i % len(tasks)]], "length": n} for i, n in enumerate(lengths)]
    (root / "meta/episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (root / "meta/tasks.jsonl").write_text(
        "".join(json.dumps({"task_index": i, "task": t}) + "\n" for i, t in enumerate(tasks))
    )
    return root


def ball2_trajectory(length: int, fps: float, phase: float) -> tuple[np.ndarray, np.ndarray]:
    """A smooth drive with two waving arms: state float32 [length, 19], action float32 [length, 16]."""
    time = np.arange(length + 3) / fps
    lin_vel, ang_vel = 0.2 * np.sin(time + phase), 0.3 * np.cos(0.7 * time + phase)
    theta = np.cumsum(ang_vel) / fps
    odom = np.stack([np.cumsum(lin_vel * np.cos(theta)) / fps, np.cumsum(lin_vel * np.sin(theta)) / fps, theta], axis=1)
    joints = np.stack([0.6 * np.sin((0.8 + 0.1 * j) * time + phase + 0.4 * j) for j in range(14)], axis=1)
    joints[:, [6, 13]] = 0.5 + 0.5 * np.sin(2 * time[:, None] + phase)  # grippers between closed and open
    state = np.concatenate([odom, lin_vel[:, None], ang_vel[:, None], joints], axis=1)
    action = np.concatenate([state[3:, 3:5], joints[3:]], axis=1)  # commands lead the joints by three frames
    return state[:length].astype(np.float32), action.astype(np.float32)


def ball2_columns(state: np.ndarray, action: np.ndarray, fps: float, episode: int, task: int) -> dict[str, Any]:
    """The six columns of a recording; there is no ``index``."""
    rows = np.arange(len(state))
    return {
        "frame_index": rows,
        "episode_index": np.full(len(rows), episode),
        "timestamp": rows / fps,
        "observation.state": state,
        "action": action,
        "task_index": np.full(len(rows), task),
    }


def ball2_info(
    lengths: list[int], fps: int, size: tuple[int, int], codec: str, cameras: tuple[str, ...], tasks: int
) -> dict[str, Any]:
    """Content of info.json; features carry the prefix that the video folders lack."""
    vector = {"dtype": "float32"}
    counter = {"dtype": "int64", "shape": [1], "names": None}
    video = {
        "dtype": "video",
        "shape": [*size, 3],
        "names": ["height", "width", "channels"],
        "info": {"video.fps": fps, "video.codec": codec},
    }
    return {
        "codebase_version": "v2.1",
        "robot_type": "trossen_ai_mobile",
        "total_episodes": len(lengths),
        "total_frames": sum(lengths),
        "total_tasks": tasks,
        "total_videos": len(lengths) * len(cameras),
        "total_chunks": 1,
        "chunks_size": 1000,
        "fps": fps,
        "splits": {"train": f"0:{len(lengths)}"},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": {
            "observation.state": {**vector, "shape": [19], "names": STATE_NAMES},
            "action": {**vector, "shape": [16], "names": ACTION_NAMES},
            **{f"observation.images.{camera}": video for camera in cameras},
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
            "frame_index": counter,
            "episode_index": counter,
            "task_index": counter,
        },
    }


def ball2_picture(state: np.ndarray, camera: int, size: tuple[int, int]) -> np.ndarray:
    """What a camera sees: a shaded background and two blocks that move with the arms; uint8 [height, width, 3]."""
    height, width = size
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = np.linspace(40, 200, width, dtype=np.uint8)[None, :, None]
    picture[..., camera] //= 2
    edge = max(4, min(size) // 8)
    for arm, color in ((5, (230, 60, 40)), (12, (40, 60, 230))):
        y = int((state[arm + camera] + 0.7) / 1.4 * (height - edge))
        x = int((state[arm + 3] + 0.7) / 1.4 * (width - edge))
        picture[max(y, 0) : max(y, 0) + edge, max(x, 0) : max(x, 0) + edge] = color
    return picture


def write_video(path: Path, pictures: Any, fps: float, size: tuple[int, int], codec: str) -> None:
    """Encode uint8 [height, width, 3] pictures."""
    import av

    os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder else writes a page to standard error for each file
    path.parent.mkdir(parents=True, exist_ok=True)
    encoder, options = ENCODERS[codec]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=Fraction(fps).limit_denominator(1000), options=options)
        stream.height, stream.width, stream.pix_fmt = size[0], size[1], "yuv420p"
        stream.gop_size = 2
        with kept_scheduling():
            container.start_encoding()
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def write_parquet(path: Path, columns: dict[str, Any]) -> None:
    """Write columns; two-dimensional arrays become lists, as recorders write them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def arrow(values: Any) -> Any:
        values = np.asarray(values)
        if values.ndim == 2:
            return pa.array(list(values.astype(np.float32)), type=pa.list_(pa.float32()))
        return pa.array(values.astype(np.float32) if values.dtype.kind == "f" else values)

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: arrow(values) for name, values in columns.items()}), path)


def write_groot(
    path: Path | str,
    embodiment: Any,
    lengths: tuple[int, ...] = (30, 24, 40),
    fps: int = 20,
    size: int = 64,
    tasks: tuple[str, ...] = ("pick up the ball", "put it down"),
    statistics: bool = True,
    seed: int = 0,
) -> Path:
    """Write a small dataset in GR00T's layout without a conversion; episodes take the tasks in turn.

    The red of frame i is about 4 * i, so that a test can tell frames apart.
    """
    from groot_ray.dataset.groot import layout
    from groot_ray.statistics.files import compute_statistics
    from groot_ray.video.encode import VideoWriter

    root = Path(path)
    (root / "meta").mkdir(parents=True)
    episodes, first = [], 0
    rng = np.random.default_rng(seed)
    width = max(c.end or 0 for c in (*embodiment.state, *embodiment.action))
    for index, length in enumerate(lengths):
        time = np.arange(length + 1)[:, None] / fps
        waves = np.sin(time * rng.uniform(1, 3, width) + rng.uniform(0, 6, width)).astype(np.float32)
        columns = {
            c.column: waves[:, : _column_width(embodiment, c.column)]
            for c in (*embodiment.state, *embodiment.action)
            if c.column
        }
        state = map_columns(embodiment, "state", {name: values[:-1] for name, values in columns.items()})
        action = map_columns(embodiment, "action", {name: values[1:] for name, values in columns.items()})
        write_parquet(
            root / layout.data_path(index), layout.episode_columns(state, action, fps, index, first, index % len(tasks))
        )
        for camera in embodiment.cameras:
            video = root / layout.video_path(camera.feature, index)
            video.parent.mkdir(parents=True, exist_ok=True)
            with VideoWriter(video, fps, size) as writer:
                for frame in range(length):
                    picture = np.full((size, size, 3), 60, np.uint8)
                    picture[..., 0] = min(4 * frame, 255)
                    writer.write(picture)
        episodes.append(layout.WrittenEpisode(index, length, (tasks[index % len(tasks)],)))
        first += length
    for name, content in layout.meta_files(embodiment, episodes, tasks, fps, layout.VideoFormat(size, "h264")).items():
        (root / name).write_text(content if isinstance(content, str) else json.dumps(content))
    if statistics:
        compute_statistics(root, modality_configs(embodiment))
    return root


def _column_width(embodiment: Any, column: str) -> int:
    return max(c.end or 0 for c in (*embodiment.state, *embodiment.action) if c.column == column)
