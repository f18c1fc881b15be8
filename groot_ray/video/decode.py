"""Decodes selected frames of a video in constant memory, reading only the packets that they need."""

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
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


def decode_frames(
    path: Path | str, indices: Sequence[int] | np.ndarray, *, index: PacketIndex | None = None, threads: int = 1
) -> Iterator[VideoFrame]:
    """Yield the frames `indices` (int [n], not decreasing, repeats allowed) as the decoder's own frames, one at a time.

    If all GOPs are closed, only the needed packets are decoded, with the same result as a full decode. Raises
    `DataError` naming the file if it is missing, truncated, damaged, or has fewer frames than requested.
    """
    wanted = np.asarray(indices, np.int64)
    if not len(wanted):
        return
    if (np.diff(wanted) < 0).any() or wanted[0] < 0:
        raise ValueError("frame indices must not decrease")
    index = index or index_packets(path)
    if wanted[-1] >= index.frames:
        raise DataError(f"video {path} has {index.frames} frames, but frame {wanted[-1]} is needed")
    # If a decoder does not return a frame from the needed packets alone, all packets are decoded.
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
    """Yield frames in the order of `wanted`, up to the first missing one."""
    frame_of = index.frame_of() if index.timed else None
    container, stream = open_video(path, threads)
    position = 0
    counted = -1
    with container:
        for frame in _decoded(path, container, stream, index, mask):
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
    path: Path | str, container: InputContainer, stream: VideoStream, index: PacketIndex, mask: np.ndarray
) -> Iterator[VideoFrame]:
    """Decode the packets of `mask`, then flush the decoder."""
    packets = _packets(container, stream, index)
    number = -1
    while True:
        with decoding_errors(path):
            packet = next(packets, None)
            if packet is not None:
                number += 1
                if not mask[number]:
                    continue
            frames = stream.codec_context.decode(packet)
        yield from frames
        if packet is None:
            return


def _packets(container: InputContainer, stream: VideoStream, index: PacketIndex) -> Iterator[Packet[VideoStream]]:
    """The packets of the index, in decoding order."""
    if index.entry is not None:
        container.seek(index.entry, stream=stream, backward=True, any_frame=False)
    left = len(index.key)
    for packet in container.demux(stream):
        early = index.entry is not None and (packet.dts is None or packet.dts < index.entry)
        if left and packet.size and not early:
            yield packet
            left -= 1
        if not left:
            return


def frames(path: Path | str, indices: Sequence[int] | np.ndarray) -> Iterator[np.ndarray]:
    """Yield the frames `indices` as uint8 [height, width, 3] RGB, one at a time; see `decode_frames`."""
    for frame in decode_frames(path, indices):
        yield frame.to_ndarray(format="rgb24")
