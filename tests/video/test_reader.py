"""Single-frame reads: the right frame whatever the order, from files with any structure, by several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from clips import KINDS, all_frames, number_of, write_clip

from groot_ray.errors import DataError
from groot_ray.video.container import open_video
from groot_ray.video.packets import index_header, index_packets
from groot_ray.video.reader import FrameReader, FrameReaders

FRAMES = 47


@pytest.mark.parametrize("kind", KINDS)
def test_any_order_gives_the_frames_of_a_full_decode(tmp_path: Path, kind: str) -> None:
    path = write_clip(tmp_path / "clip.mp4", FRAMES, kind)
    everything = all_frames(path)
    reader = FrameReader(path)
    assert reader.frames == FRAMES
    forwards, shuffled = list(range(FRAMES)), list(np.random.default_rng(0).permutation(FRAMES))
    for number in [*forwards, *reversed(forwards), *shuffled, 5, 5, 6, 6]:
        np.testing.assert_array_equal(reader.read(int(number)), everything[number])
    reader.close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_containers_table_tells_the_same_as_the_packets(tmp_path: Path, kind: str) -> None:
    path = write_clip(tmp_path / "clip.mp4", FRAMES, kind)
    container, stream = open_video(path)
    with container:
        header = index_header(stream, path)
    packets = index_packets(path)
    assert (header is not None) == (kind in ("h264 gop 2", "mpeg4 gop 12", "av1 gop 2"))
    if header is not None:
        for name in ("pts", "dts", "key", "rank"):
            np.testing.assert_array_equal(getattr(header, name), getattr(packets, name))


def test_beyond_the_end(tmp_path: Path) -> None:
    reader = FrameReader(write_clip(tmp_path / "clip.mp4", 5))
    for index in (5, -1):
        with pytest.raises(DataError, match=f"clip.mp4 has 5 frames, but frame {index} is needed"):
            reader.read(index)
    assert number_of(reader.read(4)) == 4


def test_missing_and_truncated_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none.mp4 is missing"):
        FrameReader(tmp_path / "none.mp4")
    path = write_clip(tmp_path / "cut.mp4", FRAMES, faststart=True)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match="cut.mp4 is truncated"):
        FrameReader(path)


def open_files(folder: Path) -> int:
    """How many files of this folder the process holds open; others come and go with the garbage collector."""
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            count += entry.readlink().is_relative_to(folder)
        except FileNotFoundError:
            continue
    return count


def test_the_least_recently_used_files_are_closed(tmp_path: Path) -> None:
    paths = [write_clip(tmp_path / f"{i}.mp4", 6 + i) for i in range(5)]
    readers = FrameReaders(limit=2)
    for _ in range(3):
        for path in paths:
            assert number_of(readers.read(path, 3)) == 3
            assert 1 <= open_files(tmp_path) <= 2
    readers.close()
    assert open_files(tmp_path) == 0
    assert number_of(readers.read(paths[0], 5)) == 5


def test_threads_share_the_files(tmp_path: Path) -> None:
    paths = [write_clip(tmp_path / f"{i}.mp4", 20) for i in range(4)]
    readers = FrameReaders(limit=2)
    asked = [(paths[i % 4], int(n)) for i, n in enumerate(np.random.default_rng(1).integers(0, 20, 200))]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda what: number_of(readers.read(*what)), asked))
    assert found == [number for _, number in asked]
