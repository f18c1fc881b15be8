"""A source format for tests: the numbers of all episodes in one .npz, their frames back to back in one mp4."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np

from groot_ray.dataset.meta import Episode
from groot_ray.dataset.source.formats import SourceFormat
from groot_ray.dataset.source.recording import Recording
from groot_ray.errors import DataError, did_you_mean
from groot_ray.storage import Location
from groot_ray.video.clip import Clip

NUMBERS, FILM, TITLE = "numbers.npz", "film.mp4", "toy.json"
FPS, HEIGHT, WIDTH, BITS = 30, 64, 96, 8


@dataclass(frozen=True)
class ToyEpisode(Episode):
    """An episode that knows where it begins in the shared files."""

    first: int = 0


@dataclass(frozen=True)
class ToyRecording(Recording):
    """One file of numbers and one of images for all episodes."""

    location: Location
    format: str
    version: str
    fps: float
    robot_type: str
    features: dict[str, Any]
    tasks: Mapping[int, str]
    episodes: Sequence[ToyEpisode]

    def episode(self, index: int) -> ToyEpisode:
        found = next((episode for episode in self.episodes if episode.index == index), None)
        if found is None:
            raise self.unlisted(index)
        return found

    def select(self, indices: Iterable[int]) -> ToyRecording:
        return replace(self, episodes=[self.episode(index) for index in indices])

    def rows(self, index: int) -> int:
        return self.episode(index).length

    def read_columns(self, index: int, columns: Sequence[str], optional: Iterable[str] = ()) -> dict[str, np.ndarray]:
        episode = self.episode(index)
        with (self.location / NUMBERS).as_local() as path, np.load(path) as arrays:
            for name in columns:
                if name not in arrays and name not in set(optional):
                    raise DataError(
                        f"{self.where(index)}: column {name!r} is missing{did_you_mean(name, arrays.files)}"
                    )
            rows = slice(episode.first, episode.first + episode.length)
            return {name: arrays[name][rows] for name in columns if name in arrays}

    def clip(self, index: int, camera: str) -> Clip:
        self.camera(camera)
        episode = self.episode(index)
        film = self.location / FILM
        if index % 2:  # both ways of saying where a clip begins
            return Clip(film, from_timestamp=episode.first / self.fps, frames=episode.length)
        return Clip(film, first_frame=episode.first, frames=episode.length)

    def paths(self, index: int, present: Mapping[str, Any]) -> list[str]:
        return [NUMBERS, FILM]

    def is_metadata(self, path: str) -> bool:
        return path == TITLE


def recognize(location: Location) -> str | None:
    return "toy1" if (location / TITLE).exists() else None


def open_toy(location: Location, version: str) -> ToyRecording:
    title = (location / TITLE).read_json()
    firsts = np.cumsum([0, *title["lengths"]])
    episodes = [
        ToyEpisode(index, length, (title["tasks"][index % len(title["tasks"])],), (), int(firsts[index]))
        for index, length in enumerate(title["lengths"])
    ]
    tasks = dict(enumerate(title["tasks"]))
    return ToyRecording(location, "Toy 1", version, FPS, "toy", title["features"], tasks, episodes)


TOY = SourceFormat(("toy1",), recognize, open_toy, lambda path: path == TITLE, lambda path: None)


def write_toy(folder: Path, lengths: Sequence[int], tasks: Sequence[str]) -> Path:
    """A toy dataset whose joint 0 counts all frames, as the film's images do; key frames lie across episode borders."""
    folder.mkdir(parents=True)
    total = sum(lengths)
    count = np.arange(total, dtype=np.float32)
    arm = np.stack([count, np.sin(count / 9), np.cos(count / 7)], axis=1)
    task_index = np.concatenate([np.full(n, i % len(tasks)) for i, n in enumerate(lengths)])
    np.savez(folder / NUMBERS, **{"observation.state": arm, "action": arm + 0.5, "task_index": task_index})
    vector = {"dtype": "float32", "shape": [3], "names": ["count", "sine", "cosine"]}
    camera = {"dtype": "video", "shape": [HEIGHT, WIDTH, 3], "names": ["height", "width", "channels"]}
    features = {"observation.state": vector, "action": vector, "observation.images.front": camera}
    title = {"lengths": list(lengths), "tasks": list(tasks), "features": features}
    (folder / TITLE).write_text(json.dumps(title))
    with av.open(str(folder / FILM), "w") as container:
        options = {"g": "7", "bf": "2", "sc_threshold": "0", "threads": "1"}
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(total):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image(number), format="rgb24")))
        container.mux(stream.encode(None))
    return folder


def image(number: int) -> np.ndarray:
    """uint8 [HEIGHT, WIDTH, 3]: the number as rows of black and white, so that cropping to a square keeps it."""
    bits = [255 * ((number >> bit) & 1) for bit in range(BITS)]
    rows = np.repeat(np.array(bits, np.uint8), HEIGHT // BITS)
    return np.broadcast_to(rows[:, None, None], (HEIGHT, WIDTH, 3)).copy()


def number_of(image: np.ndarray) -> int:
    """The number in a decoded image, uint8 [H, W, 3]."""
    rows = image[:, :, 1].mean(axis=1).reshape(BITS, -1).mean(axis=1) > 127
    return int(sum(1 << bit for bit in range(BITS) if rows[bit]))
