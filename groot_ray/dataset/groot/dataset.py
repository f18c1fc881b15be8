"""Reads a dataset in GR00T's layout from a local folder, for training and evaluation.

Besides our own conversions it reads the output of NVIDIA's scripts and hand-written converters: a modality.json without
``original_key``, annotation columns, sub-tasks, an info.json without paths, no statistics yet.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ray.dataset.columns import parquet_file, read_columns
from groot_ray.dataset.features import camera_spellings, cameras, width
from groot_ray.dataset.groot import layout
from groot_ray.dataset.groot.key_statistics import StatisticsFiles, key_statistics, relative_keys
from groot_ray.dataset.groot.masks import episode_masks
from groot_ray.dataset.groot.meta import read_embodiment, read_info, read_modality, read_statistics
from groot_ray.dataset.groot.modality import Modality, Slice
from groot_ray.dataset.groot.samples import Tail, action_deltas, effective_length, frame_indices
from groot_ray.dataset.meta import Episode, read_episodes, read_tasks
from groot_ray.dataset.paths import EpisodePaths
from groot_ray.errors import ConfigurationError, DataError
from groot_ray.storage import open_location

if TYPE_CHECKING:
    import numpy as np

    from groot_ray.embodiment.schema import Embodiment
    from groot_ray.video.reader import FrameReaders

CACHED_EPISODES = 64
OPEN_VIDEOS = 32


@dataclass(frozen=True)
class EpisodeArrays:
    """An episode of `length` frames: each component float32 [length, D], and the instruction of each frame."""

    length: int
    state: dict[str, np.ndarray]
    action: dict[str, np.ndarray]
    language: list[str]


class GrootDataset:
    """A dataset in GR00T's layout. Thread-safe; a copy in another process opens its own files."""

    def __init__(self, path: Path | str) -> None:
        """Read the small metadata files; opens nothing else.

        Raises:
            DataError: this is not such a dataset, or its metadata is broken; the message says what to do.
        """
        self.path = Path(path)
        folder = open_location(self.path)
        self.info: dict[str, Any] = read_info(self.path, folder)
        self.modality: Modality = read_modality(folder)
        self.tasks: dict[int, str] = read_tasks(folder)
        self.episodes: list[Episode] = read_episodes(folder, self.tasks)
        self._start_caches()

    def __len__(self) -> int:
        return len(self.episodes)

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("_lock", "_arrays", "_lengths", "_videos")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start_caches()

    def _start_caches(self) -> None:
        self._lock = threading.Lock()
        self._arrays: OrderedDict[tuple[int, str], EpisodeArrays] = OrderedDict()
        self._lengths: dict[int, int] = {}
        self._videos: FrameReaders | None = None

    # Metadata.

    @property
    def fps(self) -> float:
        """Frames per second; 30, as in the reference, if info.json does not say."""
        return float(self.info.get("fps") or 30)

    @property
    def features(self) -> dict[str, Any]:
        """The features of meta/info.json."""
        return self.info.get("features") or {}

    @property
    def cameras(self) -> list[str]:
        """Names of the video features."""
        return cameras(self.features)

    @property
    def _paths(self) -> EpisodePaths:
        return EpisodePaths(str(self.path), self.info)

    @cached_property
    def embodiment(self) -> Embodiment | None:
        """The description that the dataset was converted with; None if another program wrote it."""
        return read_embodiment(open_location(self.path))

    @cached_property
    def stats(self) -> dict[str, dict[str, Any]]:
        """Statistics of entire columns, by column: ``{mean, std, min, max, q01, q99}``, each [W].

        Raises:
            DataError: the file is missing or broken.
        """
        return read_statistics(open_location(self.path), layout.STATS)

    @cached_property
    def relative_stats(self) -> dict[str, dict[str, Any]]:
        """Statistics of RELATIVE actions by action key, each [horizon, D].

        Raises:
            DataError: the file is missing or broken.
        """
        return read_statistics(open_location(self.path), layout.RELATIVE_STATS)

    def with_statistics(
        self, stats: dict[str, dict[str, Any]], relative_stats: dict[str, dict[str, Any]]
    ) -> GrootDataset:
        """The same dataset with these statistics instead of those in its files; see `stats` and `relative_stats`."""
        other = copy(self)
        other.stats, other.relative_stats = stats, relative_stats
        return other

    def statistics(self, modality_configs: Mapping[str, Any]) -> dict[str, dict[str, dict[str, list[Any]]]]:
        """Statistics of the configuration's keys, in the processor's format.

        Returns:
            ``{"state": {key: {min, max, mean, std, q01, q99}}, "action": ..., "relative_action": ...}``: [D] each,
            [horizon, D] for the RELATIVE actions.

        Raises:
            DataError: statistics are missing, or were computed for another horizon or width; the message advises
                `groot-ray stats`.
        """
        relative = self.relative_stats if relative_keys(modality_configs) else {}
        return key_statistics(StatisticsFiles(self.path, self.stats, relative), self.modality, modality_configs)

    # Episodes.

    def data(self, position: int) -> Path:
        """The parquet file of the episode at a position of `episodes`."""
        return self.path / self._paths.data(self.episodes[position].index)

    def video(self, position: int, key: str) -> Path:
        """The video of a camera key in an episode; the folder may have the prefix ``observation.images.`` or not.

        Raises:
            DataError: modality.json has no such key, or the file is missing.
        """
        feature = self.modality.video_feature(key)
        for spelling in camera_spellings(feature):
            file = self.path / self._paths.video(self.episodes[position].index, spelling)
            if file.is_file():
                return file
        expected = self._paths.video(self.episodes[position].index, feature)
        raise DataError(f"{self.where(position)}: the video of camera {key!r} is missing ({expected})")

    def where(self, position: int) -> str:
        """Name of an episode for errors."""
        return f"episode {self.episodes[position].index} of {self.path}"

    def length(self, position: int) -> int:
        """Number of usable frames: the smaller of the parquet file's rows and the listed length.

        Raises:
            DataError: the file is missing or truncated.
        """
        with self._lock:
            known = self._lengths.get(position)
        if known is None:
            with parquet_file(open_location(self.data(position)), self.where(position)) as file:
                known = min(int(file.metadata.num_rows), self.episodes[position].length)
            with self._lock:
                self._lengths[position] = known
        return known

    def effective_length(self, position: int, modality_configs: Mapping[str, Any], tail: Tail = "drop") -> int:
        """Number of start steps in an episode; see `samples.effective_length`."""
        return effective_length(self.length(position), modality_configs, tail)

    def arrays(self, position: int, language_key: str = "task") -> EpisodeArrays:
        """All state and action components of modality.json, and the instruction of each frame under `language_key`.

        Raises:
            DataError: a file or column is missing, has the wrong width, or an instruction is missing.
        """
        with self._lock:
            if (position, language_key) in self._arrays:
                self._arrays.move_to_end((position, language_key))
                return self._arrays[position, language_key]
        arrays = self._read_arrays(position, language_key)
        with self._lock:
            self._arrays[position, language_key] = arrays
            while len(self._arrays) > CACHED_EPISODES:
                self._arrays.popitem(last=False)
        return arrays

    def sample(
        self,
        position: int,
        step: int,
        modality_configs: Mapping[str, Any],
        tag: str,
        rng: np.random.Generator | None = None,
        tail: Tail = "drop",
        with_action: bool = True,
        with_images: bool = True,
    ) -> dict[str, Any]:
        """One training sample, in raw units.

        Args:
            position: position in `episodes`.
            step: start step, below `effective_length` (for evaluation, ``with_action=False``, any frame).
            rng: chooses among several task texts of an episode; by default the first is taken.
            tail: what happens to actions after the episode's end; see `samples`.

        Returns:
            ``images`` {camera key: uint8 [Tv, H, W, 3]}, ``state`` {key: float32 [Ts, D]}, ``action`` {key: float32
            [horizon, D]} or None, ``action_valid`` bool [horizon] or None (False for repeated actions after the end),
            ``language`` text, ``tag``; and, if the configuration has a mask for each camera, ``masks`` {camera
            key: integer [Tv, H, W]}.

        Raises:
            DataError: the step is outside the episode, or a file is missing or broken.
        """
        keys = _keys(modality_configs)
        language_key = keys["language"][0] if keys["language"] else "task"
        arrays = self.arrays(position, language_key)
        usable = effective_length(arrays.length, modality_configs, tail) if with_action else arrays.length
        if not 0 <= step < usable:
            raise DataError(f"{self.where(position)} has no sample at step {step}; it has {usable}")
        states, _ = frame_indices(step, _deltas(modality_configs, "state"), arrays.length)
        sample: dict[str, Any] = {
            "images": {},
            "state": {key: arrays.state[self._checked("state", key)][states] for key in keys["state"]},
            "action": None,
            "action_valid": None,
            "language": self._instruction(position, step, language_key, arrays, modality_configs, rng),
            "tag": tag,
        }
        if with_action:
            actions, valid = frame_indices(step, action_deltas(modality_configs), arrays.length)
            sample["action"] = {key: arrays.action[self._checked("action", key)][actions] for key in keys["action"]}
            sample["action_valid"] = valid
        if with_images:
            shown, _ = frame_indices(step, _deltas(modality_configs, "video"), arrays.length)
            sample["images"] = {key: self.frames(position, key, shown) for key in keys["video"]}
            if keys["mask"]:
                if len(keys["mask"]) != len(keys["video"]):
                    raise ConfigurationError(
                        f"the configuration has {len(keys['mask'])} masks for {len(keys['video'])} cameras"
                    )
                paired = zip(keys["video"], keys["mask"], strict=True)
                sample["masks"] = {camera: self.masks(position, key)[shown] for camera, key in paired}
        return sample

    def frames(self, position: int, key: str, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Images of a camera key at the given frames: uint8 [n, H, W, 3] RGB.

        Raises:
            DataError: the video is missing, broken, or too short for a requested frame.
        """
        import numpy as np

        file = self.video(position, key)
        readers = self._frame_readers()
        return np.stack([readers.read(file, int(index)) for index in indices])

    def masks(self, position: int, key: str) -> np.ndarray:
        """All masks of a mask key in an episode: integer [T, H, W].

        Raises:
            DataError: info.json has no mask_path, modality.json no such key, or the file is missing or broken.
        """
        if not self.info.get("mask_path"):
            raise DataError(f"{self.path}: the configuration has masks, but {layout.INFO} has no mask_path")
        index = self.episodes[position].index
        return episode_masks(self.path / self._paths.fill("mask_path", index, mask_key=self.modality.mask_feature(key)))

    # Implementation.

    def _frame_readers(self) -> FrameReaders:
        from groot_ray.video.reader import FrameReaders

        with self._lock:
            if self._videos is None:
                self._videos = FrameReaders(OPEN_VIDEOS)
            return self._videos

    def _checked(self, part: str, key: str) -> str:
        self.modality.slice(part, key)
        return key

    def _read_arrays(self, position: int, language_key: str) -> EpisodeArrays:
        import numpy as np

        slices = [*self.modality.state.values(), *self.modality.action.values()]
        language = self.modality.language_column(language_key) if language_key.startswith("annotation.") else None
        names = list(dict.fromkeys([s.column for s in slices] + ([language] if language else [])))
        widths = {name: width(self.features, name) for name in names if name != language}
        columns = read_columns(open_location(self.data(position)), names, self.where(position), widths)
        length = min(self.episodes[position].length, *(len(values) for values in columns.values()))

        def cut(slice_: Slice, key: str) -> np.ndarray:
            values = columns[slice_.column].reshape(len(columns[slice_.column]), -1)
            if values.shape[1] < slice_.end:
                raise DataError(
                    f"{self.where(position)}: {key!r} is [{slice_.start}:{slice_.end}] of column {slice_.column!r}, "
                    f"which has only {values.shape[1]}"
                )
            return np.ascontiguousarray(values[:length, slice_.start : slice_.end], dtype=np.float32)

        return EpisodeArrays(
            length,
            {key: cut(slice_, key) for key, slice_ in self.modality.state.items()},
            {key: cut(slice_, key) for key, slice_ in self.modality.action.items()},
            self._instructions(position, language_key, columns.get(language) if language else None, length),
        )

    def _instructions(self, position: int, key: str, numbers: np.ndarray | None, length: int) -> list[str]:
        """The instruction of each frame; for ``task`` the first, for ``sub_task`` the first covering the frame."""
        episode = self.episodes[position]
        if key == "task":
            if not episode.tasks:
                raise DataError(f"{self.where(position)} has no task text; add one to its line of {layout.EPISODES}")
            return [episode.tasks[0]] * length
        if key == "sub_task":
            return [next((s.text for s in episode.sub_tasks if s.start <= i < s.end), "") for i in range(length)]
        if numbers is None:
            raise DataError(f"language key {key!r} is unknown; use task, sub_task or annotation.<name>")
        if numbers.dtype == object:
            return [str(text) for text in numbers[:length]]
        unknown = next((int(n) for n in numbers.reshape(-1) if int(n) not in self.tasks), None)
        if unknown is not None:
            raise DataError(f"{self.where(position)}: {key!r} holds task {unknown}, which {layout.TASKS} does not list")
        return [self.tasks[int(n)] for n in numbers.reshape(-1)[:length]]

    def _instruction(
        self, position: int, step: int, key: str, arrays: EpisodeArrays, modality_configs: Mapping[str, Any], rng: Any
    ) -> str:
        if key == "sub_task":
            # As in the reference, a sub-task may be chosen half a chunk before it starts.
            early = len(action_deltas(modality_configs)) // 2
            texts = [s.text for s in self.episodes[position].sub_tasks if s.start - early <= step < s.end]
            if not texts:
                return ""
        elif key == "task":
            texts = list(self.episodes[position].tasks)
        else:
            texts = [arrays.language[step]]
        return texts[0] if rng is None or len(texts) == 1 else texts[int(rng.integers(len(texts)))]


def _keys(modality_configs: Mapping[str, Any]) -> dict[str, list[str]]:
    return {
        name: list((modality_configs.get(name) or {}).get("modality_keys") or [])
        for name in ("video", "state", "action", "language", "mask")
    }


def _deltas(modality_configs: Mapping[str, Any], name: str) -> list[int]:
    return [int(delta) for delta in (modality_configs.get(name) or {}).get("delta_indices") or [0]]
