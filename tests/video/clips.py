"""Small videos in which every frame shows its number."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from groot_ray.video.scheduling import kept_scheduling

KINDS = {
    "h264 gop 2": ("libx264", {"g": "2", "bf": "0", "sc_threshold": "0"}),
    "h264 gop 10 with B-frames": ("libx264", {"g": "10", "bf": "3", "sc_threshold": "0"}),
    "h264 open gop": ("libx264", {"g": "6", "bf": "3", "sc_threshold": "0", "x264-params": "open-gop=1:b-adapt=0"}),
    "h264 one gop": ("libx264", {"g": "1000", "sc_threshold": "0"}),
    "mpeg4 gop 12": ("mpeg4", {"g": "12", "qmin": "2", "qmax": "2"}),
    "av1 gop 2": ("libsvtav1", {"g": "2", "preset": "12", "svtav1-params": "lp=1"}),
    "hevc open gop": (
        "libx265",
        {"g": "6", "preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1"},
    ),
}


def numbered_image(number: int, height: int = 64, width: int = 96) -> np.ndarray:
    """uint8 [height, width, 3]: the number as eight black or white stripes over a moving gradient."""
    x = np.arange(width)[None, :, None]
    image = np.broadcast_to((x * 2 + 7 * number + np.array([0, 60, 120])) % 256, (height, width, 3)).astype(np.uint8)
    bits = np.repeat([(number >> bit) & 1 for bit in range(8)], width // 8)
    image[: height // 2] = (bits * 255)[None, :, None]
    return image


def number_of(image: np.ndarray) -> int:
    """The number in a decoded image."""
    height, width = image.shape[:2]
    stripes = image[height // 4, :, 1].reshape(8, width // 8).mean(axis=1) > 127
    return int(sum(1 << bit for bit in range(8) if stripes[bit]))


def write_clip(path: Path, frames: int, kind: str = "h264 gop 2", faststart: bool = False) -> Path:
    """Encode `frames` numbered images at 20 hertz."""
    encoder, options = KINDS[kind]
    container_options = {"movflags": "+faststart"} if faststart else {}
    with av.open(str(path), "w", container_options=container_options) as container:
        stream = container.add_stream(encoder, rate=20, options={"threads": "1", **options})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        with kept_scheduling():
            container.start_encoding()
        for number in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered_image(number), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def all_frames(path: Path) -> list[np.ndarray]:
    """Every frame of a file, decoded from the start to the end by PyAV."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
