"""Frames decoded from the needed packets equal those of a full decode; errors name the broken file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clips import KINDS, all_frames, number_of, write_clip
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groot_ray.errors import DataError
from groot_ray.storage import open_location
from groot_ray.video.clip import Clip, open_clip
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
    assert [number_of(image) for image in everything] == list(range(FRAMES))
    found = list(frames(path, wanted))
    assert len(found) == len(wanted)
    for number, image in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(image, everything[number])


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
    for number, image in zip(kept, frames(path, kept), strict=True):
        np.testing.assert_array_equal(image, everything[number])


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


def test_damaged_frames_are_reported_not_guessed(aloha_dataset: Path, tmp_path: Path) -> None:
    whole = bytearray((aloha_dataset / "videos/chunk-000/observation.images.top/episode_000000.mp4").read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 40_000] = bytes(40_000)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(whole)
    with pytest.raises(DataError, match="damaged.mp4"):
        list(decode_frames(path, list(range(400))))


SPANS = [(0, 9, None), (5, 12, None), (13, 1, None), (23, None, None), (40, 20, None), (0, 7, 0.35), (0, None, 2.26)]


@pytest.mark.parametrize(("first", "count", "seconds"), SPANS)
def test_a_span_of_a_file(clip, first: int, count: int | None, seconds: float | None) -> None:
    """A clip numbers its frames from 0, wherever it is in the file, and does not need all packets of the file."""
    kind, path, everything = clip
    start = first if seconds is None else round(seconds * 20)
    expected = everything[start : None if count is None else start + count]
    span = Clip(open_location(path), first, seconds, count)
    with open_clip(span) as found:
        assert found.count == len(expected)
        images = [frame.to_ndarray(format="rgb24") for frame in found.decode(range(len(expected)))]
        some = [frame.to_ndarray(format="rgb24") for frame in found.decode([len(expected) - 1] * 2)]
        assert len(found.index.key) < FRAMES or kind == "h264 one gop"
        with pytest.raises(DataError, match=f"frame {len(expected)} is needed"):
            list(found.decode([len(expected)]))
    for ours, theirs in zip(images, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for image in some:
        np.testing.assert_array_equal(image, expected[-1])


def test_a_span_outside_its_file(tmp_path: Path) -> None:
    location = open_location(write_clip(tmp_path / "short.mp4", 10))
    for span, place in ((Clip(location, 10), "frame 10"), (Clip(location, from_timestamp=0.7), "0.7 s")):
        with pytest.raises(DataError, match=f"short.mp4 has 10 frames, none at {place}"), open_clip(span):
            pass
