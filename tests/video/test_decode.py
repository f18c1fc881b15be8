"""Frames decoded from the needed packets alone are those that decoding everything gives; broken files are told by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clips import KINDS, all_frames, number_of, write_clip
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groot_ray.errors import DataError
from groot_ray.video.decode import decode_frames, frames
from groot_ray.video.packets import index_packets
from groot_ray.video.probe import probe

FRAMES = 47


@pytest.fixture(scope="module", params=KINDS)
def clip(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, list[np.ndarray]]:
    path = write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", FRAMES, request.param)
    return request.param, path, all_frames(path)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=st.lists(st.integers(0, FRAMES - 1), min_size=1, max_size=20).map(sorted))
def test_chosen_frames_are_those_of_a_full_decode(clip, wanted: list[int]) -> None:
    _, path, everything = clip
    assert [number_of(picture) for picture in everything] == list(range(FRAMES))
    found = list(frames(path, wanted))
    assert len(found) == len(wanted)
    for number, picture in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(picture, everything[number])


def test_only_closed_gops_are_left_out(clip) -> None:
    kind, path, _ = clip
    index = index_packets(path)
    assert index.frames == FRAMES
    skipped = int((~index.needed([0, 30])).sum())
    assert index.closed == ("open" not in kind)
    assert (skipped > 0) == (index.closed and kind != "h264 one gop")


def test_real_av1_recording_needs_three_of_five_packets(aloha_dataset: Path) -> None:
    path = aloha_dataset / "videos/chunk-000/observation.images.top/episode_000000.mp4"
    info = probe(path)
    assert (info.codec, info.width, info.height, info.frames, info.fps, info.gop) == ("av1", 640, 480, 400, 50.0, 2)
    kept = [min(int((i / 20) * 50), 399) for i in range(40)]
    index = index_packets(path)
    assert index.needed(kept)[:100].sum() == 60
    everything = all_frames(path)
    for number, picture in zip(kept, frames(path, kept), strict=True):
        np.testing.assert_array_equal(picture, everything[number])


def test_fewer_frames_than_needed(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "short.mp4", 10)
    assert len(list(decode_frames(path, [9]))) == 1
    with pytest.raises(DataError, match=r"short.mp4 has 10 frames, but frame 10 is needed"):
        list(decode_frames(path, [3, 10]))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none.mp4 is missing"):
        probe(tmp_path / "none.mp4")


@pytest.mark.parametrize("faststart", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.95])
def test_truncated_file(tmp_path: Path, faststart: bool, share: float) -> None:
    path = write_clip(tmp_path / "cut.mp4", FRAMES, faststart=faststart)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match="cut.mp4 .*(truncated|damaged|missing)"):
        probe(path)


def test_file_that_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("not a video")
    with pytest.raises(DataError, match="notes.mp4"):
        list(frames(path, [0]))


def test_damaged_frames_are_told_not_guessed(aloha_dataset: Path, tmp_path: Path) -> None:
    whole = bytearray((aloha_dataset / "videos/chunk-000/observation.images.top/episode_000000.mp4").read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 40_000] = bytes(40_000)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(whole)
    with pytest.raises(DataError, match="damaged.mp4"):
        list(decode_frames(path, list(range(400))))
