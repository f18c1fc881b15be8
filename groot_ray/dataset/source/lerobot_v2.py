"""LeRobot's formats 2.0 and 2.1: one parquet file per episode, and one video file per episode and camera."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from groot_ray.dataset.columns import parquet_file, read_columns
from groot_ray.dataset.features import camera_spellings
from groot_ray.dataset.meta import EPISODES, INFO, Episode, read_episodes, read_info, read_tasks
from groot_ray.dataset.paths import EpisodePaths
from groot_ray.dataset.source import lerobot
from groot_ray.dataset.source.recording import Recording
from groot_ray.errors import DataError
from groot_ray.storage import Location
from groot_ray.video.clip import Clip

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

VERSIONS = ("v2.0", "v2.1")
_EPISODE = re.compile(r"(?:^|/)episode_(\d+)\.\w+$")


def recognize(location: Location) -> str | None:
    """The version if it is one of `VERSIONS`, else None."""
    version = lerobot.detect_version(location)
    return version if version in VERSIONS else None


def episode_of(path: str) -> int | None:
    """The episode that a file belongs to, from its name."""
    found = _EPISODE.search(path)
    return int(found.group(1)) if found else None


def open_v2(location: Location, version: str) -> LeRobotV2:
    """Read the metadata of a dataset.

    Raises:
        DataError: the metadata is broken or empty; the message says what to do.
    """
    info = read_info(location)
    fps = info.get("fps")
    if not isinstance(fps, int | float) or isinstance(fps, bool) or fps <= 0:
        raise DataError(f"{location.uri}: {INFO} gives no fps (found {fps!r}); add the recording's frames per second")
    features = info.get("features")
    if not isinstance(features, dict):
        log.warning("%s: %s lists no features; widths and names of columns are unknown", location.uri, INFO)
        features = {}
    tasks = read_tasks(location)
    episodes = sorted(read_episodes(location, tasks), key=lambda episode: episode.index)
    for one, other in pairwise(episodes):
        if one.index == other.index:
            raise DataError(f"{location.uri}/{EPISODES} lists episode {one.index} twice")
    return LeRobotV2(
        location=location,
        format=f"LeRobot {version}",
        version=version,
        fps=float(fps),
        robot_type=str(info.get("robot_type") or ""),
        features=features,
        tasks=tasks,
        episodes=episodes,
        info=info,
    )


@dataclass(frozen=True)
class LeRobotV2(Recording):
    """A dataset in LeRobot v2.0 or v2.1; `info` is the content of its info.json."""

    location: Location
    format: str
    version: str
    fps: float
    robot_type: str
    features: dict[str, Any]
    tasks: Mapping[int, str]
    episodes: Sequence[Episode]
    info: Mapping[str, Any]
    # Episodes whose listed length was reported as wrong; sent along to tasks, so that they do not report it again.
    _reported: set[int] = field(default_factory=set, repr=False, compare=False)

    @cached_property
    def _by_index(self) -> dict[int, Episode]:
        return {episode.index: episode for episode in self.episodes}

    @property
    def _paths(self) -> EpisodePaths:
        return EpisodePaths(self.location.uri, self.info)

    def episode(self, index: int) -> Episode:
        """The episode with this number; raises `DataError` if it is not listed."""
        if index not in self._by_index:
            raise self.unlisted(index)
        return self._by_index[index]

    def select(self, indices: Iterable[int]) -> LeRobotV2:
        """The same recording with only these episodes, in this order; raises `DataError` if one is not listed."""
        return replace(self, episodes=[self.episode(index) for index in indices])

    def data(self, index: int) -> Location:
        """Location of an episode's parquet file, which may not exist."""
        return self.location / self._paths.data(index)

    def read_columns(self, index: int, columns: Sequence[str], optional: Iterable[str] = ()) -> dict[str, np.ndarray]:
        """Columns of one episode, [T, W] or [T]; see `Recording`. All rows of the file are read, whatever the listed
        length.
        """
        episode = self.episode(index)
        widths = {name: self.width(name) for name in columns}
        values = read_columns(self.data(index), columns, self.where(index), widths, optional)
        rows = {len(array) for array in values.values()}
        if rows == {0}:
            raise DataError(f"{self.where(index)} has no rows; leave it out")
        if rows and rows != {episode.length} and index not in self._reported:
            self._reported.add(index)
            found = (self.where(index), rows.pop(), EPISODES, episode.length)
            log.warning("%s has %d rows but %s lists %d; using the rows", *found)
        return values

    def rows(self, index: int) -> int:
        """Number of rows in an episode's parquet file; reads its footer only. Raises `DataError` for a broken file."""
        with parquet_file(self.data(index), self.where(index)) as file:
            return int(file.metadata.num_rows)

    def clip(self, index: int, camera: str) -> Clip:
        """An episode's complete video file; its folder may have the prefix ``observation.images.`` or not.

        Raises:
            DataError: the dataset has no such camera, or the file is missing.
        """
        self.episode(index)
        feature = self.camera(camera)
        for spelling in camera_spellings(feature):
            location = self.location / self._paths.video(index, spelling)
            if location.exists():
                return Clip(location)
        expected = self._paths.video(index, feature)
        raise DataError(f"{self.where(index)}: the video of camera {camera!r} is missing ({expected})")

    def paths(self, index: int, present: Mapping[str, Any]) -> list[str]:
        """An episode's parquet file and its `present` videos; raises `DataError` if the parquet file is missing."""
        data = self._paths.data(self.episode(index).index)
        if data not in present:
            raise DataError(f"{self.where(index)}: file {data} is listed in {EPISODES} but does not exist")
        videos = [self._paths.video(index, s) for camera in self.cameras for s in camera_spellings(camera)]
        return [data, *(path for path in videos if path in present)]

    def is_metadata(self, path: str) -> bool:
        """Whether a file is below ``meta/``."""
        return path.startswith("meta/")

    def notes(self) -> list[str]:
        """Notes on totals in info.json that disagree with episodes.jsonl, and on a missing version."""
        totals = {
            "total_episodes": len(self.episodes),
            "total_frames": sum(episode.length for episode in self.episodes),
        }
        found = [
            f"{INFO} says {key} {self.info[key]}, {EPISODES} gives {actual}"
            for key, actual in totals.items()
            if self.info.get(key) is not None and self.info[key] != actual
        ]
        if not self.info.get("codebase_version"):
            found.append(f"{INFO} names no codebase_version; reading it as {self.version}")
        return found
