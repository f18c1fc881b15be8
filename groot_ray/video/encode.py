"""Writes video files whose bytes depend only on the pixels and the options.

H.264 with a key frame every second frame and `tune=fastdecode` is the fastest to read in training: a frame needs at
most two packets. One encoding thread and bit-exact containers make the bytes independent of the machine's load and of
when the file was written.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from groot_ray.errors import ConfigurationError, did_you_mean
from groot_ray.video.scheduling import kept_scheduling

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


@dataclass(frozen=True)
class Codec:
    """A codec: FFmpeg's encoder name, its name in LeRobot's info.json, and the encoder's options."""

    encoder: str
    feature_name: str
    options: dict[str, str]


CODECS = {
    "h264": Codec("libx264", "h264", {"preset": "superfast", "tune": "fastdecode", "bf": "0", "sc_threshold": "0"}),
    "hevc": Codec("libx265", "hevc", {"preset": "veryfast", "tune": "fastdecode"}),
    "av1": Codec("libsvtav1", "av1", {"preset": "8"}),
    "mp4v": Codec("mpeg4", "mpeg4", {"bf": "0"}),
}


def codec_named(name: str) -> Codec:
    """The codec with this name; raises `ConfigurationError` listing the known ones if it is unknown."""
    if name not in CODECS:
        raise ConfigurationError(
            f"unknown video codec {name!r}{did_you_mean(name, CODECS)}; there are {', '.join(CODECS)}"
        )
    return CODECS[name]


def _encoder_options(name: str, gop: int, quality: int) -> dict[str, str]:
    options = dict(CODECS[name].options)
    options |= {"g": str(gop), "threads": "1"}
    if name == "mp4v":
        # MPEG-4 part 2 has a quantizer (1-31) instead of a rate factor; quantizer 4 looks like crf 23.
        quantizer = str(min(31, max(1, round(quality / 6))))
        return options | {"qmin": quantizer, "qmax": quantizer}
    options["crf"] = str(quality)
    if name == "h264":
        options["keyint_min"] = "1"
    if name == "hevc":
        options["x265-params"] = (
            f"log-level=none:pools=none:frame-threads=1:bframes=0:open-gop=0:scenecut=0:keyint={gop}:min-keyint=1"
        )
    if name == "av1":
        options["svtav1-params"] = "lp=1:pred-struct=1:scd=0"
    return options


class VideoWriter:
    """Encodes frames of `size` x `size` pixels at `fps` hertz into an mp4 file; a context manager.

    If the block raises, the file is removed, so that no incomplete file is taken for a video.
    """

    def __init__(
        self, path: Path | str, fps: float, size: int, codec: str = "h264", gop: int = 2, quality: int = 23
    ) -> None:
        import av

        known = codec_named(codec)
        os.environ.setdefault("SVT_LOG", "1")  # otherwise SVT-AV1 prints its settings
        self.path = Path(path)
        self.frames = 0
        self._codec = codec
        self._size = size
        self._color_known = False
        self._container = av.open(
            str(path), "w", format="mp4", container_options={"movflags": "+faststart", "fflags": "+bitexact"}
        )
        rate = Fraction(fps).limit_denominator(1001)
        stream: Any = self._container.add_stream(
            known.encoder, rate=rate, options=_encoder_options(codec, gop, quality)
        )
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        self._time_base = 1 / rate
        stream.time_base = self._time_base
        context = stream.codec_context
        context.thread_count = 1
        context.flags |= av.codec.context.Flags.bitexact
        self._stream = stream

    def write(self, frame: VideoFrame | np.ndarray) -> None:
        """Append a frame: RGB uint8 [size, size, 3], or a decoder's frame of that size in any pixel format."""
        import av

        if isinstance(frame, np.ndarray):
            frame = av.VideoFrame.from_ndarray(frame, format="rgb24")
        if (frame.width, frame.height) != (self._size, self._size):
            raise ValueError(
                f"a frame of {frame.width} x {frame.height} pixels does not fit a video of {self._size} x {self._size}"
            )
        if frame.format.name != "yuv420p":
            frame = frame.reformat(format="yuv420p")
        if not self._color_known:
            self._copy_color(frame)
            with kept_scheduling():
                self._container.start_encoding()
        frame.pts = self.frames
        frame.time_base = self._time_base
        frame.pict_type = av.video.frame.PictureType.NONE
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def _copy_color(self, frame: VideoFrame) -> None:
        """Copy color matrix and range to the new file, since its planes keep the source's."""
        context = self._stream.codec_context
        context.colorspace = frame.colorspace
        context.color_range = frame.color_range
        context.color_primaries = frame.color_primaries
        context.color_trc = frame.color_trc
        self._color_known = True

    def close(self) -> None:
        """Flush the encoder and finish the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        try:
            self._container.close()
        finally:
            self.path.unlink(missing_ok=True)
