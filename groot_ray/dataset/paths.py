"""Paths of an episode's files in a dataset with one file per episode (LeRobot v2.x and GR00T's layout)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from groot_ray.dataset.meta import INFO
from groot_ray.errors import DataError

CHUNK_SIZE = 1000
DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


class EpisodePaths(NamedTuple):
    """The path templates of an info.json; `dataset` names the dataset in errors."""

    dataset: str
    info: Mapping[str, Any]

    def data(self, index: int) -> str:
        """Path of an episode's parquet file below the dataset."""
        return self.fill("data_path", index, DATA_PATH)

    def video(self, index: int, feature: str) -> str:
        """Path of an episode's video of one camera below the dataset."""
        return self.fill("video_path", index, VIDEO_PATH, video_key=feature)

    def fill(self, key: str, index: int, default: str = "", **names: str) -> str:
        """Fill in the template `key` of info.json for one episode.

        Raises:
            DataError: the template has an unknown placeholder.
        """
        template = str(self.info.get(key) or default)
        chunk = index // int(self.info.get("chunks_size") or CHUNK_SIZE)
        try:
            return template.format(episode_chunk=chunk, episode_index=index, **names)
        except (KeyError, IndexError, ValueError) as error:
            raise DataError(f"{self.dataset}: {key} {template!r} of {INFO} cannot be filled in ({error!r})") from None
