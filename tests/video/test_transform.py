"""The image treatment: its geometry, its area average, and how near conversion's planes come to it."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.video.decode import decode_frames
from groot_ray.video.transform import FITS, PlaneFitter, fit_boxes, fit_frame

sides = st.integers(32, 800)


@settings(deadline=None)
@given(height=sides, width=sides, size=st.integers(16, 256).map(lambda n: 2 * n), fit=st.sampled_from(FITS))
def test_boxes_lie_within_and_keep_the_shape(height: int, width: int, size: int, fit: str) -> None:
    used, target = fit_boxes(height, width, size, fit)
    assert used.top >= 0 and used.left >= 0 and used.top + used.height <= height and used.left + used.width <= width
    assert (
        target.top >= 0
        and target.left >= 0
        and target.top + target.height <= size
        and target.left + target.width <= size
    )
    if fit == "crop":
        assert used.height == used.width == min(height, width)
        assert used.top % 2 == used.left % 2 == 0
        assert 0 <= height - 2 * used.top - used.height <= 3 and 0 <= width - 2 * used.left - used.width <= 3
    if fit == "letterbox":
        assert max(target.height, target.width) >= size - 1
        assert target.height % 2 == target.width % 2 == target.top % 2 == target.left % 2 == 0
        assert abs(target.height * width - target.width * height) <= 2 * max(height, width)
    else:
        assert (target.top, target.left, target.height, target.width) == (0, 0, size, size)


def area_average(image: np.ndarray, size: int) -> np.ndarray:
    """Mean over the source area under each target pixel, the slow way, float64 [size, size, 3]."""

    def weights(length: int) -> np.ndarray:
        edges = np.arange(size + 1) * length / size
        pixels = np.arange(length)
        overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
        return np.maximum(overlap, 0) / (length / size)

    rows, columns = weights(image.shape[0]), weights(image.shape[1])
    return np.einsum("ih,hwc,jw->ijc", rows, image.astype(float), columns)


@settings(max_examples=20, deadline=None)
@given(
    height=st.integers(64, 120),
    width=st.integers(64, 120),
    seed=st.integers(0, 99),
    fit=st.sampled_from(["crop", "stretch"]),
)
def test_fit_frame_is_the_area_average(height: int, width: int, seed: int, fit: str) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    used, _ = fit_boxes(height, width, 48, fit)
    np.testing.assert_allclose(fit_frame(image, 48, fit), area_average(image[used.window], 48), atol=1.01)


def test_letterbox_is_the_complete_image_between_black_bars() -> None:
    image = np.full((480, 640, 3), (200, 100, 50), np.uint8)
    fitted = fit_frame(image, 256, "letterbox")
    assert (fitted[:32] == 0).all() and (fitted[224:] == 0).all() and (fitted[32:224] == (200, 100, 50)).all()


def test_wrong_images_are_rejected() -> None:
    with pytest.raises(DataError, match="float64"):
        fit_frame(np.zeros((4, 4, 3)), 32)
    with pytest.raises(ConfigurationError, match="did you mean 'letterbox'"):
        fit_frame(np.zeros((4, 4, 3), np.uint8), 32, "leterbox")


def differences(frame: av.VideoFrame, fit: str, size: int = 256) -> np.ndarray:
    ours = PlaneFitter(size, fit)(frame)
    assert (ours.width, ours.height, ours.format.name) == (size, size, "yuv420p")
    rgb = fit_frame(frame.to_ndarray(format="rgb24"), size, fit)
    return ours.to_ndarray(format="rgb24").astype(int) - rgb


@pytest.mark.parametrize("fit", FITS)
def test_planes_agree_with_the_definition_on_a_real_recording(aloha_dataset: Path, fit: str) -> None:
    path = aloha_dataset / "videos/chunk-000/observation.images.top/episode_000001.mp4"
    for frame in decode_frames(path, [0, 150, 399]):
        difference = differences(frame, fit)
        assert np.abs(difference).mean() < 0.25 and abs(difference.mean()) < 0.05
        assert 10 * np.log10(255**2 / (difference**2).mean()) > 45


@pytest.mark.parametrize("size", [(270, 480), (480, 642), (260, 346), (1242, 2208)])
def test_a_square_with_an_odd_center_is_cut_alike(size: tuple[int, int]) -> None:
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    wave = 127 + 100 * np.sin(x / size[0] * 40) * np.cos(y / size[0] * 50)
    image = np.repeat(wave[..., None], 3, axis=-1).astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
    assert np.abs(differences(frame, "crop")).mean() < 0.5


@pytest.mark.parametrize("fit", FITS)
def test_planes_agree_with_the_definition_on_a_real_camera(shared_dir: Path, fit: str) -> None:
    path = shared_dir / "data/g1_pick_bottle/videos/chunk-000/observation.images.cam_high/episode_000000.mp4"
    for frame in decode_frames(path, [0, 100, 289]):
        difference = differences(frame, fit)
        assert np.abs(difference).mean() < 1.0 and abs(difference.mean()) < 0.05
        assert 10 * np.log10(255**2 / (difference**2).mean()) > 42


@pytest.mark.parametrize(
    "format", ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le", "nv12", "rgb24", "gray"]
)
def test_any_pixel_format_and_odd_sizes(format: str) -> None:
    y, x = np.mgrid[0:101, 0:135]
    image = np.stack([x, 2 * y, 255 - x], axis=-1).astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=format)
    for fit in FITS:
        rgb = fit_frame(frame.to_ndarray(format="rgb24"), 64, fit)
        as_yuv = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p").to_ndarray(format="rgb24")
        rounding = np.abs(as_yuv.astype(int) - rgb).mean()  # of 8-bit YUV, whoever computes it
        assert np.abs(differences(frame, fit, 64)).mean() < rounding + 1.0, (
            fit
        )  # chroma of odd sizes lies half a pixel off


def test_a_change_of_image_size_is_reported() -> None:
    fit = PlaneFitter(64)
    fit(av.VideoFrame.from_ndarray(np.zeros((96, 128, 3), np.uint8), format="rgb24"))
    with pytest.raises(DataError, match="changes"):
        fit(av.VideoFrame.from_ndarray(np.zeros((64, 128, 3), np.uint8), format="rgb24"))
