"""Decoding chosen frames of a video in constant memory, touching only the packets that they need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from groot_ray.errors import DataError
from groot_ray.video.container import decoding_errors, open_video
from groot_ray.video.packets import PacketIndex, index_packets

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


def decode_frames(
    path: Path | str, indices: Sequence[int] | np.ndarray, *, index: PacketIndex | None = None, threads: int = 1
) -> Iterator[VideoFrame]:
    """Yield the frames `indices` (int [n], not decreasing, repeats allowed) as the decoder's own frames, one at a time.

    Where all GOPs are closed only the needed packets are decoded; the frames are the same as if all were. Raises `DataError` that
    names the file when it is missing, truncated, damaged, or has fewer frames than asked for.
    """
    wanted = np.asarray(indices, np.int64)
    if not len(wanted):
        return
    if (np.diff(wanted) < 0).any() or wanted[0] < 0:
        raise ValueError("frame indices must not decrease")
    index = index or index_packets(path)
    if wanted[-1] >= index.frames:
        raise DataError(f"video {path} has {index.frames} frames, but frame {wanted[-1]} is needed")
    # Should a decoder not give a frame back from its needed packets alone, all packets are decoded after all.
    position = 0
    for mask in (index.needed(wanted), np.ones(len(index.key), bool)):
        for frame in _decode_once(path, wanted[position:], index, mask, threads):
            position += 1
            yield frame
        if position == len(wanted):
            return
    raise DataError(f"video {path} cannot be decoded: frame {wanted[position]} is missing from the stream")


def _decode_once(
    path: Path | str, wanted: np.ndarray, index: PacketIndex, mask: np.ndarray, threads: int
) -> Iterator[VideoFrame]:
    """Yield frames in the order of `wanted` as long as none is missing."""
    frame_of = index.frame_of() if index.timed else None
    container, stream = open_video(path, threads)
    position = 0
    counted = -1
    with container:
        for frame in _decoded(path, container, stream, mask):
            counted += 1
            number = counted if frame_of is None or frame.pts is None else frame_of.get(frame.pts, -1)
            if number > wanted[position]:
                return
            while position < len(wanted) and wanted[position] == number:
                if frame.is_corrupt:
                    raise DataError(f"video {path} is damaged at frame {number}")
                yield frame
                position += 1
            if position == len(wanted):
                return


def _decoded(
    path: Path | str, container: InputContainer, stream: VideoStream, mask: np.ndarray
) -> Iterator[VideoFrame]:
    """Decode the packets of `mask`, then what the decoder still holds."""
    number = -1
    packets = container.demux(stream)
    while True:
        with decoding_errors(path):
            packet = next(packets, None)
            if packet is None:
                return
            if packet.size:
                number += 1
                if number < len(mask) and not mask[number]:
                    continue
            frames = stream.codec_context.decode(packet if packet.size else None)
        yield from frames


def frames(path: Path | str, indices: Sequence[int] | np.ndarray) -> Iterator[np.ndarray]:
    """Yield the frames `indices` as uint8 [height, width, 3] RGB, one at a time; see `decode_frames`."""
    for frame in decode_frames(path, indices):
        yield frame.to_ndarray(format="rgb24")
