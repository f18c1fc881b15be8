"""The protocol `Recording`: methods that each source format implements, and methods derived from them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

from groot_ray.dataset import features
from groot_ray.dataset.fingerprints import Fingerprint, fingerprints
from groot_ray.dataset.meta import Episode
from groot_ray.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import numpy as np

    from groot_ray.storage import Location
    from groot_ray.video.clip import Clip


class Recording(Protocol):
    """A dataset of recorded episodes: holds the metadata, and reads columns and videos on demand.

    A format subclasses it and implements the methods without a body below; files may hold one episode or many, and
    only the format knows which. A recording is pickled for tasks: `select` first reduces it to the episodes
    that they need.

    Attributes:
        location: the dataset's folder.
        format: the format's display name, such as ``LeRobot v2.1``.
        version: the format's version, as stage records keep it.
        fps: frames per second, in hertz.
        robot_type: name of the robot as recorded; empty if unknown.
        features: columns and cameras by name, in the form of LeRobot's info.json (dtype, shape, names).
        tasks: task texts by task number; empty if the recorder kept none.
        episodes: the episodes, by number.
    """

    location: Location
    format: str
    version: str
    fps: float
    robot_type: str
    features: dict[str, Any]
    tasks: Mapping[int, str]
    episodes: Sequence[Episode]

    # Implemented by each format.

    @abstractmethod
    def select(self, indices: Iterable[int]) -> Self:
        """The same recording with only these episodes, in this order.

        Raises:
            DataError: an episode is not listed.
        """
        ...

    @abstractmethod
    def rows(self, index: int) -> int:
        """Actual number of frames of an episode, cheap to read; it may differ from the listed length.

        Raises:
            DataError: a file is missing or truncated.
        """
        ...

    @abstractmethod
    def read_columns(self, index: int, columns: Sequence[str], optional: Iterable[str] = ()) -> dict[str, np.ndarray]:
        """Columns of one episode: [T, W] for vectors, [T] for single values, [T] of objects for text; dtypes as stored.

        Returns only this episode's rows, even if the file holds several. `optional` columns are left out if they are
        missing.

        Raises:
            DataError: the episode is not listed, its file is missing or truncated, or a column is missing or has the
                wrong width; the message names episode and column.
        """
        ...

    @abstractmethod
    def clip(self, index: int, camera: str) -> Clip:
        """The span of a video file that holds the frames of one episode and camera.

        Raises:
            DataError: there is no such camera, or its file is missing.
        """
        ...

    @abstractmethod
    def paths(self, index: int, present: Mapping[str, Any]) -> list[str]:
        """Paths below `location`, among those `present`, of the data and video files that hold an episode.

        Raises:
            DataError: a data file is missing.
        """
        ...

    @abstractmethod
    def is_metadata(self, path: str) -> bool:
        """Whether a file describes the dataset, so that changing it may change any episode."""
        ...

    def notes(self) -> list[str]:
        """Notes on surprising metadata, such as totals that do not agree."""
        return []

    # Derived from these.

    @property
    def cameras(self) -> list[str]:
        """Names of the video features."""
        return features.cameras(self.features)

    def feature_names(self, column: str) -> list[str] | None:
        """Names of a column's dimensions, flat; None if the recorder gave none."""
        return features.dimension_names(self.features, column)

    def width(self, column: str) -> int | None:
        """Declared number of dimensions of a column; None if unknown."""
        return features.width(self.features, column)

    def episode(self, index: int) -> Episode:
        """The episode with this number.

        Raises:
            DataError: it is not listed.
        """
        for episode in self.episodes:
            if episode.index == index:
                return episode
        raise self.unlisted(index)

    def unlisted(self, index: int) -> DataError:
        """The error for an episode that is not listed."""
        numbers = [episode.index for episode in self.episodes]
        known = f"it lists {len(numbers)} from {min(numbers)} to {max(numbers)}" if numbers else "it lists none"
        return DataError(f"{self.location.uri} has no episode {index}; {known}")

    def where(self, index: int) -> str:
        """Name of an episode for errors."""
        return f"episode {index} of {self.location.uri}"

    def camera(self, name: str) -> str:
        """The dataset's name of a camera, given with or without the prefix ``observation.images.``.

        Raises:
            DataError: there is no such camera, or its images are not stored as video.
        """
        found = features.find_camera(self.features, name)
        if found is not None:
            return found
        stored = next((self.features[s] for s in features.camera_spellings(name) if s in self.features), None)
        if stored is not None:
            raise DataError(
                f"{self.location.uri}: {name!r} is stored as {stored.get('dtype')!r}, not as video; "
                "only video cameras can be read"
            )
        if not self.cameras:  # the metadata lists no videos: the files decide
            return name
        near = did_you_mean(name, self.cameras) or did_you_mean(
            name, [camera.removeprefix(features.PREFIX) for camera in self.cameras]
        )
        raise DataError(f"{self.location.uri} has no camera {name!r}{near}; it has {', '.join(self.cameras)}")

    def frame_tasks(self, index: int, column: str = "task_index") -> list[str]:
        """The instruction of each frame: the column's task numbers looked up, or its texts.

        If there is no such column or no list of tasks, it is the episode's first task.

        Raises:
            DataError: a task number is not listed, or the episode has no task at all.
        """
        optional = [column] if column == "task_index" else []
        values = self.read_columns(index, [column], optional=optional).get(column)
        if values is None or (not self.tasks and self.episode(index).tasks):
            return [self._first_task(index)] * self.rows(index)
        if values.dtype == object:
            return [str(text) for text in values]
        numbers = [int(number) for number in values.reshape(-1)]
        unknown = next((number for number in numbers if number not in self.tasks), None)
        if unknown is not None:
            raise DataError(
                f"{self.where(index)}: column {column!r} holds task {unknown}, which the dataset does not list; "
                "add it to the tasks in meta/"
            )
        return [self.tasks[number] for number in numbers]

    def episode_tasks(self, index: int) -> list[str]:
        """Distinct task texts of an episode: as listed, else from its task numbers.

        Raises:
            DataError: neither gives a text.
        """
        listed = self.episode(index).tasks
        return list(listed) if listed else list(dict.fromkeys(self.frame_tasks(index)))

    def _first_task(self, index: int) -> str:
        tasks = self.episode(index).tasks
        if not tasks:
            raise DataError(f"{self.where(index)} has no task text; add one to its entry in the metadata")
        return tasks[0]

    def files(self, episodes: Iterable[int] | None = None) -> list[tuple[str, Location]]:
        """The relevant files, as (path, location): metadata, and the files of `episodes` (by default all).

        Raises:
            DataError: a data file is missing.
        """
        present = {entry.relative: entry.location for entry in self.location.list()}
        chosen = [path for path in present if self.is_metadata(path)]
        for index in [e.index for e in self.episodes] if episodes is None else episodes:
            chosen.extend(self.paths(index, present))
        return [(path, present[path]) for path in dict.fromkeys(chosen)]

    def fingerprints(self, episodes: Iterable[int] | None = None, threads: int = 16) -> list[Fingerprint]:
        """(path, size, sha256) of the relevant files, by path; reads every byte once."""
        return fingerprints(self.files(episodes), threads)

    def described(self, indices: Iterable[int]) -> dict[str, Any]:
        """The dataset's metadata of these episodes, as JSON data, on which a conversion's plan depends."""
        chosen = [self.episode(index) for index in indices]
        listed = [{"index": e.index, "length": e.length, "tasks": list(e.tasks)} for e in chosen]
        return {"fps": self.fps, "features": self.features, "episodes": listed}
