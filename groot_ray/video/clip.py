"""A clip: the frames of one episode and camera, as a span of a video file that may hold several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from av.video.frame import VideoFrame

    from groot_ray.storage import Location
    from groot_ray.video.packets import PacketIndex


@dataclass(frozen=True)
class Clip:
    """A span of a video file: `frames` frames starting at the first; by default the complete file.

    Attributes:
        location: the video file.
        first_frame: number of the clip's first frame in the file.
        from_timestamp: alternatively, presentation time of the first frame in seconds; the nearest frame is used.
        frames: number of frames; None means to the end of the file.
    """

    location: Location
    first_frame: int = 0
    from_timestamp: float | None = None
    frames: int | None = None

    @property
    def is_whole_file(self) -> bool:
        """Whether the clip is its complete file."""
        return self.first_frame == 0 and self.from_timestamp is None and self.frames is None


@dataclass(frozen=True)
class ClipFrames:
    """The frames of a clip whose file is available at `path`, numbered from the clip's first frame."""

    path: Path
    index: PacketIndex

    @property
    def count(self) -> int:
        """Number of frames that the file really has."""
        return self.index.frames

    def decode(self, indices: Sequence[int] | np.ndarray) -> Iterator[VideoFrame]:
        """Yield the clip's frames `indices` (int [n], not decreasing); see `decode.decode_frames`."""
        from groot_ray.video.decode import decode_frames

        return decode_frames(self.path, indices, index=self.index)


@contextmanager
def open_clip(clip: Clip) -> Iterator[ClipFrames]:
    """Make the clip's file available locally and index the packets of its span.

    Raises:
        DataError: the file is missing, truncated or damaged, or the span lies outside it.
    """
    with clip.location.as_local() as path:
        yield ClipFrames(path, index_clip(path, clip))


def index_clip(path: Path | str, clip: Clip) -> PacketIndex:
    """Index the packets that a clip needs, in a local copy `path` of its file."""
    from groot_ray.video.packets import index_packets, index_span

    if clip.is_whole_file:
        return index_packets(path)
    return index_span(path, clip.first_frame, clip.frames, clip.from_timestamp)
