"""The properties of a video file, with frames counted exactly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from groot_ray.video.container import open_video
from groot_ray.video.packets import index_stream


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video: `frames` as counted from packets, not from the header; `fps` in hertz; `gop`: longest
    distance between key frames.
    """

    codec: str
    pixel_format: str
    width: int
    height: int
    frames: int
    fps: float
    gop: int
    closed: bool


def probe(path: Path | str) -> VideoInfo:
    """Describe the first video stream of a file without decoding it.

    Raises `DataError` for a missing, truncated or unreadable file.
    """
    container, stream = open_video(path)
    with container:
        context = stream.codec_context
        index = index_stream(container, stream, path)
        return VideoInfo(
            codec=context.codec.canonical_name,
            pixel_format=str(context.pix_fmt),
            width=context.width,
            height=context.height,
            frames=index.frames,
            fps=float(stream.average_rate or 0),
            gop=index.gop_length,
            closed=index.closed,
        )
