"""Maps the frames of a video to its packets, read from the packet headers without decoding.

A frame's index is the rank of its presentation time. A group of pictures (GOP) is a key frame and all that follows it
until the next key frame in decoding order; it is closed when all of its frames are shown between its own key frame
and the next. Only then can other GOPs be skipped when decoding: a leading frame, shown before its key frame,
refers to the previous GOP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from groot_ray.errors import DataError
from groot_ray.video.container import decoding_errors, open_video

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream


@dataclass(frozen=True)
class PacketIndex:
    """Packets of one video stream in decoding order.

    `pts` int64 [n] in units of the stream's time base, `dts` int64 [n], `key` bool [n], `rank` int64 [n]: the frame
    index that the packet's frame is shown as, -1 for packets that are hidden by an edit list or outside a span.
    `timed` is false if presentation times are missing or repeated; frames can then only be counted, not looked up.
    `entry` is the decoding time to seek to if the packets do not start with the file's first.
    """

    pts: np.ndarray
    dts: np.ndarray
    key: np.ndarray
    rank: np.ndarray
    timed: bool
    entry: int | None = None

    @property
    def frames(self) -> int:
        """Number of frames that are shown."""
        return int((self.rank >= 0).sum())

    @property
    def gop(self) -> np.ndarray:
        """Number of the GOP of each packet, int64 [n]; -1 before the first key frame."""
        numbers: np.ndarray = np.cumsum(self.key) - 1
        return numbers

    @property
    def gop_length(self) -> int:
        """Length of the longest GOP in packets."""
        lengths = np.bincount(self.gop + 1)
        return int(lengths.max()) if len(lengths) else 0

    @property
    def closed(self) -> bool:
        """Whether every GOP can be decoded without the others."""
        if not self.timed or not len(self.key) or not self.key[0]:
            return False
        starts = np.flatnonzero(self.key)
        firsts = self.pts[starts]
        lowest = np.minimum.reduceat(self.pts, starts)
        highest = np.maximum.reduceat(self.pts, starts)
        return bool((lowest == firsts).all() and (highest[:-1] < firsts[1:]).all())

    def needed(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Mask, bool [n], of the packets that the frames `indices` need; all packets if GOPs are not closed."""
        if not self.closed:
            return np.ones(len(self.key), bool)
        wanted = np.isin(self.rank, np.asarray(indices))
        gop = self.gop
        order = np.arange(len(gop))
        last = np.full(int(gop[-1]) + 1, -1)
        np.maximum.at(last, gop[wanted], order[wanted])
        # A decoder may delay frames to reorder them: a GOP with reordering is decoded to its end.
        reordered = np.zeros(len(last), bool)
        backwards = np.flatnonzero((np.diff(self.pts) < 0) & (gop[1:] == gop[:-1]))
        reordered[gop[backwards]] = True
        ends = np.append(np.flatnonzero(self.key)[1:], len(gop)) - 1
        last = np.where(reordered & (last >= 0), ends, last)
        mask: np.ndarray = order <= last[gop]
        return mask

    def frame_at(self, time: float) -> int | None:
        """The frame shown nearest to `time`, in units of the stream's time base; None if it is more than half a frame
        away.
        """
        times = np.sort(self.pts[self.rank >= 0])
        nearest = int(np.argmin(np.abs(times - time)))
        interval = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
        return nearest if abs(times[nearest] - time) <= interval / 2 else None

    def span(self, first: int, frames: int | None) -> PacketIndex:
        """The packets that the frames [first, first + frames) need, numbered from 0 at frame `first`.

        Key frames are entry points: frames shown after one never refer to frames decoded before it. `frames` None
        means to the end. Raises ValueError if presentation times are unusable or `first` is outside the file.
        """
        stop = self.frames if frames is None else min(first + frames, self.frames)
        if not self.timed or not 0 <= first < stop:
            raise ValueError(f"no frames [{first}, {stop}) among {self.frames}")
        inside = np.flatnonzero((self.rank >= first) & (self.rank < stop))
        entries = np.flatnonzero(self.key & (self.rank <= first))
        entries = entries[entries <= inside[0]]
        kept = slice(int(entries[-1]) if len(entries) else 0, int(inside[-1]) + 1)
        rank = self.rank[kept]
        rank = np.where((rank >= first) & (rank < stop), rank - first, -1)
        entry = int(self.dts[kept.start]) if kept.start else self.entry
        return PacketIndex(self.pts[kept], self.dts[kept], self.key[kept], rank, True, entry)

    def frame_of(self) -> dict[int, int]:
        """Frame index by presentation time."""
        return {int(pts): int(rank) for pts, rank in zip(self.pts, self.rank, strict=True) if rank >= 0}


def index_stream(container: InputContainer, stream: VideoStream, path: Path | str) -> PacketIndex:
    """Read the packet headers of an open stream from its start; raises `DataError` for a truncated file."""
    pts: list[int | None] = []
    dts: list[int | None] = []
    key: list[bool] = []
    shown: list[bool] = []
    with decoding_errors(path):
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            if packet.is_corrupt:
                raise DataError(f"video {path} is truncated after {len(pts)} of {stream.frames or 'its'} frames")
            pts.append(packet.pts)
            dts.append(packet.dts)
            key.append(packet.is_keyframe)
            shown.append(not packet.is_discard)
    if stream.frames and len(pts) < stream.frames:
        raise DataError(f"video {path} is truncated after {len(pts)} of {stream.frames} frames")
    visible = np.asarray(shown, bool)
    timed = bool(pts) and None not in pts and None not in dts and len(set(pts)) == len(pts)
    times = np.asarray(pts if timed else range(len(pts)), np.int64)
    decode_times = np.asarray(dts if timed else range(len(pts)), np.int64)
    rank = np.full(len(pts), -1, np.int64)
    rank[np.flatnonzero(visible)[np.argsort(times[visible], kind="stable")]] = np.arange(int(visible.sum()))
    return PacketIndex(times, decode_times, np.asarray(key, bool), rank, timed)


def index_header(stream: VideoStream, path: Path | str) -> PacketIndex | None:
    """Like `index_stream`, but from the container's own table, without reading a packet; None if it lacks display
    times.

    Complete mp4 files whose frames are shown in decoding order, as conversion writes them, have display times. Raises
    `DataError` for a truncated file.
    """
    entries = stream.index_entries
    if not len(entries) or len(entries) != stream.frames or stream.codec_context.has_b_frames:
        return None
    pts = np.asarray([entry.timestamp for entry in entries], np.int64)
    if not (np.diff(pts) > 0).all() or pts[0] != 0:
        return None
    last = entries[len(entries) - 1]
    if last.pos + last.size > Path(path).stat().st_size:
        raise DataError(f"video {path} is truncated")
    key = np.asarray([entry.is_keyframe for entry in entries], bool)
    return PacketIndex(pts, pts, key, np.arange(len(pts)), True)


def index_packets(path: Path | str) -> PacketIndex:
    """Read the packet headers of a video file; raises `DataError` for a missing, truncated or unreadable file."""
    container, stream = open_video(path)
    with container:
        return index_stream(container, stream, path)


def index_span(
    path: Path | str, first_frame: int, frames: int | None, from_timestamp: float | None = None
) -> PacketIndex:
    """Index the packets of a span of a file; reads no packet if the container's table suffices.

    Args:
        first_frame: number of the span's first frame in the file.
        frames: number of frames; None means to the end of the file. There are fewer if the file ends earlier.
        from_timestamp: presentation time of the first frame in seconds, instead of `first_frame`; the nearest frame
            is used.

    Raises:
        DataError: the file is missing, truncated or unreadable, has no timestamps, or the span starts outside it.
    """
    container, stream = open_video(path)
    with container:
        index = index_header(stream, path) or index_stream(container, stream, path)
        time_base = stream.time_base
    if not index.timed or not time_base:
        raise DataError(f"video {path} has no usable timestamps; record or convert it again")
    if from_timestamp is None:
        first, place = first_frame, f"frame {first_frame}"
    else:
        found = index.frame_at(float(from_timestamp / time_base))
        first, place = -1 if found is None else found, f"{from_timestamp:g} s"
    if not 0 <= first < index.frames:
        raise DataError(f"video {path} has {index.frames} frames, none at {place}; the metadata does not fit the video")
    return index.span(first, frames)
