"""Reads single frames by index, for training; files stay open until they are the least recently used."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from groot_ray.errors import DataError
from groot_ray.video.container import decoding_errors, open_video
from groot_ray.video.packets import index_header, index_stream

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


class FrameReader:
    """Reads frames of one file by exact index. Thread-safe; reads wait for each other.

    A read seeks to the key frame of its GOP and decodes up to the frame; reading forward within a GOP needs no
    seek. Files without closed GOPs are read from the nearest safe key frame, in the worst case from the start.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._container, self._stream = open_video(path)
        try:
            index = index_header(self._stream, path) or index_stream(self._container, self._stream, path)
            if not index.timed:
                raise DataError(f"video {path} has no usable timestamps; convert it again")
        except BaseException:
            self._container.close()
            raise
        self.frames = index.frames
        self._frame_of = index.frame_of()
        self._seek_to = self._entry_points(index.key, index.pts, index.dts, index.rank, index.closed)
        self._decoder: Iterator[VideoFrame] | None = None
        self._next = -1

    @staticmethod
    def _entry_points(
        key: np.ndarray, pts: np.ndarray, dts: np.ndarray, rank: np.ndarray, closed: bool
    ) -> list[tuple[int, int]]:
        """For each frame, the decoding time to seek to and the first frame that is certain to be decoded from there."""
        visible = np.flatnonzero(rank >= 0)
        visible = visible[np.argsort(rank[visible])]
        starts = np.flatnonzero(key) if closed else np.zeros(1, np.int64)
        entry = starts[np.maximum(np.searchsorted(starts, visible, side="right") - 1, 0)]
        return [(int(dts[e]), int(max(rank[e], 0))) for e in entry]

    def read(self, index: int) -> np.ndarray:
        """Frame `index` as uint8 [height, width, 3] RGB; raises `DataError` beyond the end or for a damaged file."""
        if not 0 <= index < self.frames:
            raise DataError(f"video {self.path} has {self.frames} frames, but frame {index} is needed")
        with self._lock, decoding_errors(self.path):
            return self._find(index).to_ndarray(format="rgb24")

    def _find(self, index: int) -> VideoFrame:
        time, first = self._seek_to[index]
        # Later frames of the same GOP are reached by continuing to decode.
        if self._decoder is None or not max(first, self._next) == self._next <= index:
            self._container.seek(time, stream=self._stream, backward=True, any_frame=False)
            self._decoder = self._container.decode(self._stream)
        for frame in self._decoder:
            number = -1 if frame.pts is None else self._frame_of.get(frame.pts, -1)
            self._next = number + 1
            if number == index:
                return frame
            if number > index:
                break
        self._decoder = None
        raise DataError(f"video {self.path} cannot be decoded: frame {index} is missing from the stream")

    def close(self) -> None:
        """Close the file; the reader cannot be used afterwards."""
        with self._lock:
            self._decoder = None
            self._container.close()


class FrameReaders:
    """At most `limit` open files of this process, the least recently used closed first; thread-safe."""

    def __init__(self, limit: int = 64) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._open: OrderedDict[str, FrameReader] = OrderedDict()
        self._users: dict[str, int] = {}

    def read(self, path: Path | str, index: int) -> np.ndarray:
        """Frame `index` of the file, uint8 [height, width, 3] RGB."""
        name = str(path)
        reader = self._borrow(name)
        try:
            return reader.read(index)
        finally:
            self._give_back(name)

    def _borrow(self, name: str) -> FrameReader:
        with self._lock:
            reader = self._open.get(name)
            if reader is None:
                reader = self._open[name] = FrameReader(name)
            self._open.move_to_end(name)
            self._users[name] = self._users.get(name, 0) + 1
            self._close_unused()
            return reader

    def _give_back(self, name: str) -> None:
        with self._lock:
            self._users[name] -= 1
            if not self._users[name]:
                del self._users[name]
            self._close_unused()

    def _close_unused(self) -> None:
        for name in list(self._open):
            if len(self._open) <= self.limit:
                return
            if name not in self._users:
                self._open.pop(name).close()

    def close(self) -> None:
        """Close all files that are not being read."""
        with self._lock:
            for name in [name for name in self._open if name not in self._users]:
                self._open.pop(name).close()
