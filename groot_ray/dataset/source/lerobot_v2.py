"""Reading a robot's recordings in LeRobot's formats 2.0 and 2.1, from a folder or S3, one episode at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from groot_ray.dataset.features import PREFIX, camera_spellings, cameras, dimension_names, find_camera, width
from groot_ray.dataset.groot.layout import CHUNK_SIZE, DATA_PATH, VIDEO_PATH
from groot_ray.dataset.source.meta import SourceEpisode, read_episodes, read_info, read_tasks, read_version
from groot_ray.errors import DataError, did_you_mean
from groot_ray.storage import Location

if TYPE_CHECKING:
    import numpy as np

    from groot_ray.dataset.fingerprints import Fingerprint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SourceDataset:
    """A dataset of recorded episodes; holds the meta data only, and reads columns and videos when asked.

    Cheap to pickle after `select`, so that a task on another machine gets just its episodes.
    """

    location: Location
    version: str
    fps: float
    info: dict[str, Any]
    tasks: dict[int, str]
    episodes: list[SourceEpisode]
    _positions: dict[int, int] = field(default_factory=dict, repr=False, compare=False)

    @property
    def robot_type(self) -> str:
        """Name of the robot as recorded; empty where unknown."""
        return str(self.info.get("robot_type") or "")

    @property
    def features(self) -> dict[str, Any]:
        """The features of meta/info.json by name, as recorded."""
        return self.info.get("features") or {}

    @property
    def cameras(self) -> list[str]:
        """Names of the video features."""
        return cameras(self.features)

    def feature_names(self, column: str) -> list[str] | None:
        """Names of a column's dimensions, flat; None where the recorder gave none."""
        return dimension_names(self.features, column)

    def width(self, column: str) -> int | None:
        """Declared number of dimensions of a column; None where unknown."""
        return width(self.features, column)

    def select(self, indices: Iterable[int]) -> SourceDataset:
        """The same dataset with only these episodes, in this order.

        Raises:
            DataError: an episode is not listed.
        """
        chosen = [self.episode(index) for index in indices]
        return replace(self, episodes=chosen, _positions={e.index: i for i, e in enumerate(chosen)})

    def episode(self, index: int) -> SourceEpisode:
        """The episode of a number.

        Raises:
            DataError: it is not listed.
        """
        position = self._positions.get(index)
        if position is None:
            numbers = sorted(self._positions)
            raise DataError(
                f"{self.location.uri} has no episode {index}; it lists {len(numbers)} from {numbers[0]} to {numbers[-1]}"
            )
        return self.episodes[position]

    def data(self, index: int) -> Location:
        """Where an episode's parquet file is, whether it exists or not."""
        return self.location / self._path("data_path", DATA_PATH, index)

    def read_columns(self, index: int, columns: Sequence[str], optional: Iterable[str] = ()) -> dict[str, np.ndarray]:
        """Columns of an episode: [T, W] for list columns, [T] for single values; the file's rows count, not the listed length.

        Raises:
            DataError: the episode is not listed, its file is missing or truncated, a column (but for the `optional`) is missing or
                has the wrong width; the sentence names episode and column.
        """
        from groot_ray.dataset.columns import read_columns

        episode = self.episode(index)
        widths = {name: self.width(name) for name in columns}
        values = read_columns(self.data(index), columns, self.where(index), widths, optional)
        rows = {len(array) for array in values.values()}
        if rows == {0}:
            raise DataError(f"{self.where(index)} has no rows; leave it out")
        if rows and rows != {episode.length}:
            log.warning(
                "%s has %d rows but meta/episodes.jsonl lists %d; the rows count",
                self.where(index),
                rows.pop(),
                episode.length,
            )
        return values

    def rows(self, index: int) -> int:
        """Number of frames in an episode's parquet file; reads its footer only.

        Raises:
            DataError: the file is missing or truncated.
        """
        from groot_ray.dataset.columns import parquet_file

        with parquet_file(self.data(index), self.where(index)) as file:
            return int(file.metadata.num_rows)

    def frame_tasks(self, index: int, column: str = "task_index") -> list[str]:
        """The instruction of each frame: the column's task numbers looked up, or its texts; without the column the episode's task.

        Raises:
            DataError: a number is not in meta/tasks.jsonl, or the episode has no task at all.
        """
        values = self.read_columns(index, [column], optional=[column] if column == "task_index" else ()).get(column)
        if values is None or (not self.tasks and self.episode(index).tasks):
            return [self._episode_task(index)] * self.rows(index)
        if values.dtype == object:
            return [str(text) for text in values]
        unknown = next((int(number) for number in values.reshape(-1) if int(number) not in self.tasks), None)
        if unknown is not None:
            raise DataError(
                f"{self.where(index)}: column {column!r} holds task {unknown}, which meta/tasks.jsonl does not list"
            )
        return [self.tasks[int(number)] for number in values.reshape(-1)]

    def episode_tasks(self, index: int) -> list[str]:
        """Different task texts of an episode: as listed, else from its task numbers.

        Raises:
            DataError: neither gives a text.
        """
        listed = self.episode(index).tasks
        return list(listed) if listed else list(dict.fromkeys(self.frame_tasks(index)))

    def video(self, index: int, camera: str) -> Location:
        """Where an episode's video of a camera is; the folder may have the prefix ``observation.images.`` or not.

        Raises:
            DataError: the dataset has no such camera, or the file is missing.
        """
        self.episode(index)
        feature = self.camera(camera)
        spellings = list(dict.fromkeys([feature, *camera_spellings(feature)]))
        for spelling in spellings:
            location = self.location / self._path("video_path", VIDEO_PATH, index, video_key=spelling)
            if location.exists():
                return location
        expected = self._path("video_path", VIDEO_PATH, index, video_key=feature)
        raise DataError(f"{self.where(index)}: the video of camera {camera!r} is missing ({expected})")

    def camera(self, name: str) -> str:
        """The dataset's own name of a camera that is given with or without prefix.

        Raises:
            DataError: there is no such camera, or its pictures are not kept as video.
        """
        found = find_camera(self.features, name)
        if found is not None:
            return found
        stored = next((self.features[s] for s in camera_spellings(name) if s in self.features), None)
        if stored is not None:
            raise DataError(
                f"{self.location.uri}: {name!r} is kept as {stored.get('dtype')!r}, not as video; only video cameras can be read"
            )
        if not self.cameras:  # an info.json that lists no video at all: the folders decide
            return name
        near = did_you_mean(name, self.cameras) or did_you_mean(
            name, [camera.removeprefix(PREFIX) for camera in self.cameras]
        )
        raise DataError(f"{self.location.uri} has no camera {name!r}{near}; it has {', '.join(self.cameras)}")

    def files(self, episodes: Iterable[int] | None = None) -> list[tuple[str, Location]]:
        """The files that matter, as (path, location): meta data, and the parquet and video files of the episodes (all when not given).

        Raises:
            DataError: a parquet file is missing.
        """
        listed = {entry.relative: entry.location for entry in self.location.list()}
        chosen = [path for path in listed if path.startswith("meta/")]
        for index in [e.index for e in self.episodes] if episodes is None else episodes:
            path = self._path("data_path", DATA_PATH, self.episode(index).index)
            if path not in listed:
                raise DataError(f"{self.where(index)}: file {path} is listed in meta/episodes.jsonl but does not exist")
            chosen.append(path)
            for camera in self.cameras:
                spelled = [self._path("video_path", VIDEO_PATH, index, video_key=s) for s in camera_spellings(camera)]
                chosen.extend(path for path in spelled if path in listed)
        return [(path, listed[path]) for path in dict.fromkeys(chosen)]

    def fingerprints(self, episodes: Iterable[int] | None = None, threads: int = 16) -> list[Fingerprint]:
        """(path, size, sha256) of the files that matter, in the order of their paths; reads every byte once."""
        from groot_ray.dataset.fingerprints import fingerprints

        return fingerprints(self.files(episodes), threads)

    def where(self, index: int) -> str:
        """Name of an episode for errors."""
        return f"episode {index} of {self.location.uri}"

    def _episode_task(self, index: int) -> str:
        tasks = self.episode(index).tasks
        if not tasks:
            raise DataError(f"{self.where(index)} has no task text; add one to its line of meta/episodes.jsonl")
        return tasks[0]

    def _path(self, key: str, default: str, index: int, **names: str) -> str:
        template = self.info.get(key) or default
        chunk = index // int(self.info.get("chunks_size") or CHUNK_SIZE)
        try:
            return str(template).format(episode_chunk=chunk, episode_index=index, **names)
        except (KeyError, IndexError, ValueError) as error:
            raise DataError(
                f"{self.location.uri}: {key} {template!r} of meta/info.json cannot be filled in ({error!r})"
            ) from None


def open_source(location: Location) -> SourceDataset:
    """Read the meta data of a LeRobot dataset.

    Raises:
        DataError: there is no dataset, its version is not read, or its meta data is broken or empty; the sentence says what to do.
    """
    info = read_info(location)
    version = read_version(location, info)
    fps = info.get("fps")
    if not isinstance(fps, int | float) or isinstance(fps, bool) or fps <= 0:
        raise DataError(
            f"{location.uri}: meta/info.json gives no fps (found {fps!r}); add the recording's frames per second"
        )
    tasks = read_tasks(location)
    episodes = read_episodes(location, tasks)
    if not isinstance(info.get("features"), dict):
        log.warning("%s: meta/info.json lists no features; widths and names of columns are unknown", location.uri)
        info = {**info, "features": {}}
    return SourceDataset(
        location, version, float(fps), info, tasks, episodes, {e.index: i for i, e in enumerate(episodes)}
    )
