"""Written videos: bytes that depend on nothing but pixels and options, key frames where training needs them."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest
from clips import all_frames, number_of, numbered_image, write_clip

from groot_ray.errors import ConfigurationError
from groot_ray.video.decode import decode_frames
from groot_ray.video.encode import CODECS, VideoWriter
from groot_ray.video.probe import probe
from groot_ray.video.transform import PlaneFitter


def encode(path: Path, codec: str, frames: int = 11, **options: int) -> Path:
    with VideoWriter(path, 20, 96, codec, **options) as writer:
        for number in range(frames):
            writer.write(numbered_image(number, 96, 96))
    return path


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_writes_what_it_was_given_with_equal_bytes(tmp_path: Path, codec: str) -> None:
    one, two = encode(tmp_path / "one.mp4", codec), encode(tmp_path / "two.mp4", codec)
    assert one.read_bytes() == two.read_bytes()
    info = probe(one)
    assert (info.codec, info.width, info.height, info.frames, info.fps) == (
        CODECS[codec].feature_name,
        96,
        96,
        11,
        20.0,
    )
    assert info.gop == 2 and info.closed
    images = all_frames(one)
    assert [number_of(image) for image in images] == list(range(11))
    errors = np.mean([np.abs(p.astype(int) - numbered_image(i, 96, 96)).mean() for i, p in enumerate(images)])
    assert errors < 12


def test_no_codec_changes_how_this_process_is_scheduled(tmp_path: Path) -> None:
    """SVT-AV1, run as root, makes its threads and the caller's real-time ones, and all that they start."""

    def policies() -> set[int]:
        return {os.sched_getscheduler(int(entry.name)) for entry in Path("/proc/self/task").iterdir()}

    before = os.sched_getscheduler(0)
    for codec in CODECS:
        with VideoWriter(tmp_path / "video.mp4", 20, 96, codec) as writer:
            writer.write(numbered_image(0, 96, 96))
            assert policies() == {before}, codec
        assert policies() == {before}, codec


def test_quality_and_key_frame_distance(tmp_path: Path) -> None:
    fine, coarse = (
        encode(tmp_path / "fine.mp4", "h264", quality=10),
        encode(tmp_path / "coarse.mp4", "h264", quality=40),
    )
    assert fine.stat().st_size > 1.5 * coarse.stat().st_size
    assert probe(encode(tmp_path / "long.mp4", "h264", gop=5)).gop == 5


def test_fractional_rates(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "ntsc.mp4", 30000 / 1001, 96) as writer:
        for number in range(10):
            writer.write(numbered_image(number, 96, 96))
    assert probe(tmp_path / "ntsc.mp4").fps == pytest.approx(30000 / 1001)


def test_unknown_codec() -> None:
    with pytest.raises(ConfigurationError, match=r"'h246' \(did you mean 'h264'\?\)"):
        VideoWriter("unused.mp4", 20, 96, "h246")
    assert not Path("unused.mp4").exists()


def test_an_error_leaves_no_file(tmp_path: Path) -> None:
    def fail() -> None:
        with VideoWriter(tmp_path / "half.mp4", 20, 96) as writer:
            writer.write(numbered_image(0, 96, 96))
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fail()
    assert not list(tmp_path.iterdir())


def test_frames_of_the_wrong_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="64 x 64"), VideoWriter(tmp_path / "x.mp4", 20, 96) as writer:
        writer.write(np.zeros((64, 64, 3), np.uint8))


def test_the_color_matrix_of_the_source_is_kept(tmp_path: Path) -> None:
    """A source in BT.709 must not come out as if it were BT.601: the colors would shift."""
    source = tmp_path / "bt709.mp4"
    colors = np.zeros((96, 96, 3), np.uint8)
    colors[:, :48], colors[:, 48:] = (220, 30, 30), (30, 200, 40)
    with av.open(str(source), "w") as container:
        stream = container.add_stream(
            "libx264", rate=20, options={"crf": "5", "colorspace": "bt709", "color_range": "tv"}
        )
        stream.width = stream.height = 96
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(colors, format="rgb24").reformat(format="yuv420p", dst_colorspace="ITU709")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    expected = all_frames(source)[0]
    with VideoWriter(tmp_path / "ours.mp4", 20, 64, quality=5) as writer:
        fit = PlaneFitter(64)
        for decoded in decode_frames(source, [0]):
            writer.write(fit(decoded))
    ours = all_frames(tmp_path / "ours.mp4")[0]
    for x_source, x_ours in ((20, 12), (76, 52)):
        assert np.abs(ours[32, x_ours].astype(int) - expected[48, x_source]).max() < 8


def test_clips_of_the_tests_are_numbered(tmp_path: Path) -> None:
    assert [number_of(image) for image in all_frames(write_clip(tmp_path / "clip.mp4", 5))] == [0, 1, 2, 3, 4]
