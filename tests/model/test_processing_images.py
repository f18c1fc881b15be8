"""Images: equal to the reference's without augmentation, of the same distribution with it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from recorded import recording

from groot_ray.errors import ConfigurationError
from groot_ray.model.n1d6.pixels import pixel_values, smart_resize, smart_size
from groot_ray.model.shared.color import AlbumentationsJitter, ColorJitter, TorchvisionJitter
from groot_ray.model.shared.image_pipelines import ImageOptions, ImagePipelines
from groot_ray.model.shared.image_steps import (
    FractionSize,
    LetterBox,
    RandomCrop,
    RandomRotation,
    ResizeShortest,
    Rotate,
)
from groot_ray.model.shared.masks import MaskAugmentation

REFERENCE = recording()
RAW = [REFERENCE["raw_image.front"][0], REFERENCE["raw_image.wrist"][0]]
JITTER = {"brightness": 0.3, "contrast": 0.4, "saturation": 0.5, "hue": 0.08}


def _image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth colorful image."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def test_evaluation_pictures_equal_the_reference_to_the_last_bit() -> None:
    images = ImagePipelines.of(ImageOptions()).evaluate(RAW)
    np.testing.assert_array_equal(images, REFERENCE["eval.images"])


def test_pixel_values_equal_the_reference_to_the_last_bit() -> None:
    values = pixel_values([smart_resize(image) for image in REFERENCE["eval.images"]])
    expected = np.concatenate([REFERENCE["batch.pixel_values_0"], REFERENCE["batch.pixel_values_1"]])
    np.testing.assert_array_equal(values, expected)


def test_training_pictures_of_the_reference_are_among_the_crops() -> None:
    """The recorded training sample has one crop for both cameras, which only differ from ours in where
    chance put it.
    """
    transform = ImagePipelines.of(ImageOptions())
    squares = [ResizeShortest(256)(LetterBox()(image)) for image in RAW]
    found = []
    for top in range(14):
        for left in range(14):
            crops = [ResizeShortest(256)(square[top : top + 243, left : left + 243]) for square in squares]
            if np.array_equal(crops, REFERENCE["train.images"]):
                found.append((top, left))
    assert len(found) == 1
    (top, left) = found[0]
    shares = iter([(top + 0.5) / 14, (left + 0.5) / 14])

    class Fixed:
        def random(self) -> float:
            return next(shares)

    np.testing.assert_array_equal(transform.train(RAW, Fixed()), REFERENCE["train.images"])  # type: ignore[arg-type]


def test_crops_are_uniform_over_all_positions() -> None:
    """Chi-square of 20,000 draws of 14 x 14 positions, with a fixed seed."""
    transform, crop = ImagePipelines.of(ImageOptions()), RandomCrop(FractionSize(0.95))
    ramp = np.zeros((256, 256, 3), dtype=np.uint8)
    ramp[..., 0] = np.arange(256)[:, None]
    ramp[..., 1] = np.arange(256)[None]
    rng = np.random.default_rng(3)
    drawn: Counter[tuple[int, int]] = Counter()
    for _ in range(20_000):
        top, left = crop(rng).at
        drawn[int(top * 14), int(left * 14)] += 1
    expected = 20_000 / 196
    assert set(drawn) == {(y, x) for y in range(14) for x in range(14)}
    # 195 degrees of freedom: mean 195, deviation 20.
    assert sum((n - expected) ** 2 / expected for n in drawn.values()) < 195 + 4 * 20
    corners = {tuple(transform.train([ramp], np.random.default_rng(seed))[0][0, 0, :2]) for seed in range(300)}
    assert len(corners) > 100 and max(max(c) for c in corners) <= 13


def test_one_draw_is_replayed_on_all_frames_and_cameras() -> None:
    transform = ImagePipelines.of(ImageOptions(random_rotation_angle=10, color_jitter_params=JITTER))
    image = _image(240, 320)
    same = transform.train([image] * 4, np.random.default_rng(0))
    assert all(np.array_equal(same[0], other) for other in same[1:])
    assert not np.array_equal(same[0], transform.train([image], np.random.default_rng(1))[0])
    assert np.array_equal(same[0], transform.train([image], np.random.default_rng(0))[0])


def test_cameras_of_other_shapes_are_letterboxed_each_by_its_own() -> None:
    wide, tall = _image(120, 200), _image(200, 120)
    for images in (
        ImagePipelines.of(ImageOptions()).evaluate([wide, tall]),
        ImagePipelines.of(ImageOptions()).train([wide, tall], np.random.default_rng(0)),
    ):
        assert [p.shape for p in images] == [(256, 256, 3)] * 2
        assert not images[0][:20].any() and images[0][:, :4].any()
        assert not images[1][:, :20].any() and images[1][:4].any()


@given(st.integers(1, 40), st.integers(1, 40))
def test_letterbox_centers_the_image(height: int, width: int) -> None:
    image = np.full((height, width, 3), 7, dtype=np.uint8)
    square = LetterBox()(image)
    side = max(height, width)
    assert square.shape == (side, side, 3)
    top, left = (side - height) // 2, (side - width) // 2
    assert square[top : top + height, left : left + width].all()
    assert int((square > 0).sum()) == image.size


def test_pictures_stay_as_they_are_without_a_crop() -> None:
    image = _image(256, 256)
    np.testing.assert_array_equal(ImagePipelines.of(ImageOptions(crop_fraction=1.0)).evaluate([image])[0], image)


def test_without_letterbox_the_aspect_is_kept() -> None:
    image = _image(120, 200)
    assert ImagePipelines.of(ImageOptions(letter_box=False)).evaluate([image])[0].shape == (256, 427, 3)


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_smart_size(height: int, width: int) -> None:
    if max(height, width) > 200 * min(height, width):
        with pytest.raises(ConfigurationError, match="too narrow"):
            smart_size(height, width)
        return
    rows, columns = smart_size(height, width)
    assert rows % 28 == columns % 28 == 0
    assert 4 * 784 <= rows * columns <= 4096 * 784
    if min(height, width) >= 2 * 28 and max(height, width) < 1700:
        assert abs(rows - height) <= 14 and abs(columns - width) <= 14


def test_smart_size_of_the_usual_images() -> None:
    assert smart_size(256, 256) == (252, 252) and smart_size(224, 224) == (224, 224) and smart_size(14, 42) == (56, 112)


def test_rotation_turns_about_the_center() -> None:
    image = _image(256, 256)
    turned = Rotate(90.0, cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101)(image)
    assert np.abs(turned.astype(int) - np.rot90(image)).max() <= 1
    rotation = RandomRotation(90, cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101)
    angles = [rotation(np.random.default_rng(seed)).angle for seed in range(500)]
    assert -90 <= min(angles) < -85 and 85 < max(angles) <= 90


@pytest.mark.parametrize("jitter", [AlbumentationsJitter, TorchvisionJitter])
def test_neutral_and_extreme_changes(jitter: Any) -> None:
    image = _image(64, 64)
    neutral = (("brightness", 1.0), ("contrast", 1.0), ("saturation", 1.0))
    assert np.abs(jitter(neutral)(image).astype(int) - image).max() == 0
    assert np.abs(jitter((("hue", 0.0),))(image).astype(int) - image).max() <= 6  # 180 steps of hue in 8 bits
    assert not jitter((("brightness", 0.0),))(image).any()
    flat = jitter((("contrast", 0.0),))(image)
    assert flat.min() == flat.max()
    gray = jitter((("saturation", 0.0),))(image).astype(int)
    assert np.ptp(gray, axis=2).max() == 0
    red = np.zeros((4, 4, 3), dtype=np.uint8)
    red[..., 0] = 200
    np.testing.assert_allclose(jitter((("hue", 1 / 3),))(red), np.roll(red, 1, axis=2), atol=1)


@given(st.floats(0, 2), st.integers(0, 255))
def test_brightness_multiplies_and_cuts_off_fractions(factor: float, level: int) -> None:
    image = np.full((2, 2, 3), level, dtype=np.uint8)
    expected = min(255, int(np.float32(level) * np.float32(factor)))
    assert (AlbumentationsJitter((("brightness", factor),))(image) == expected).all()


def test_both_flavors_of_jitter_are_alike() -> None:
    image = _image(64, 64)
    for seed in range(30):
        changes = ColorJitter.from_params(JITTER)(np.random.default_rng(seed)).changes
        difference = AlbumentationsJitter(changes)(image).astype(int) - TorchvisionJitter(changes)(image)
        assert np.abs(difference).mean() < 3


def test_jitter_draws_are_uniform_and_in_any_order() -> None:
    jitter = ColorJitter.from_params(JITTER)
    rng = np.random.default_rng(0)
    draws = [dict(jitter(rng).changes) for _ in range(2000)]
    for name, largest in JITTER.items():
        values = np.array([d[name] for d in draws]) - (0 if name == "hue" else 1)
        assert np.abs(values).max() <= largest and abs(values.mean()) < 0.05 * largest
        assert abs(values.std() - largest / np.sqrt(3)) < 0.03 * largest
    assert len({tuple(d) for d in draws}) == 24
    assert ColorJitter.from_params({"brightness": 2.0})(rng).changes[0][1] >= 0
    assert ColorJitter.from_params({})(rng).changes == ()


def test_torchvision_pipeline() -> None:
    options = ImageOptions(
        use_albumentations=False, image_target_size=[224, 224], image_crop_size=[213, 213], shortest_image_edge=None,
        crop_fraction=None, color_jitter_params=JITTER, random_rotation_angle=5,
    )  # fmt: skip
    transform = ImagePipelines.of(options)
    image = _image(240, 320)
    resized = np.asarray(Image.fromarray(LetterBox()(image)).resize((224, 224), Image.Resampling.BILINEAR))
    crop = Image.fromarray(resized[6:219, 6:219]).resize((224, 224), Image.Resampling.BILINEAR)
    evaluated = transform.evaluate([image])[0]
    assert np.abs(evaluated.astype(int) - np.asarray(crop)).max() <= 2  # torch's kernel rounds once less than Pillow's
    one, two = transform.train([image, image], np.random.default_rng(0))
    assert one.shape == (224, 224, 3) and one.dtype == np.uint8
    assert not np.array_equal(one, two)  # each image has its own draw


def test_masked_regions_are_changed_and_nothing_else() -> None:
    image = _image(40, 40)
    mask = np.zeros((40, 40), dtype=np.int32)
    mask[10:20, 10:20] = 4
    noise = MaskAugmentation.from_config({"background_noise_transforms": [{}]})
    changed = noise(image, mask, np.random.default_rng(0))
    np.testing.assert_array_equal(changed[mask == 4], image[mask == 4])
    assert (changed[mask == 0] != image[mask == 0]).mean() > 0.9
    tint = MaskAugmentation.from_config(
        {"masked_region_transforms": [{"target_mask_values": [4], "p": 1.0, "alpha_range": [1.0, 1.0]}]}
    )
    changed = tint(image, mask == 4, np.random.default_rng(0))
    np.testing.assert_array_equal(changed, image)  # a bool mask holds 0 and 1, not 4
    changed = tint(image, mask, np.random.default_rng(0))
    np.testing.assert_array_equal(changed[mask == 0], image[mask == 0])
    assert len(np.unique(changed[mask == 4], axis=0)) == 1
    rng = np.random.default_rng(0)
    half = MaskAugmentation.from_config({"masked_region_transforms": [{"target_mask_values": [4]}]})
    times = sum(not np.array_equal(half(image, mask, rng), image) for _ in range(400))
    assert 150 < times < 250


def test_masks_change_training_pictures_before_the_crop() -> None:
    config = {"background_noise_transforms": [{"target_mask_values": [0], "p": 1.0}]}
    transform = ImagePipelines.of(ImageOptions(extra_augmentation_config=config))
    image = np.full((256, 256, 3), 100, dtype=np.uint8)
    masks = [np.ones((256, 256), np.uint8), np.zeros((256, 256), np.uint8)]
    kept, noisy = transform.train([image, image], np.random.default_rng(0), masks)
    assert (kept == 100).all() and noisy.std() > 30
    assert (transform.evaluate([image])[0] == 100).all()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"shortest_image_edge": None}, "neither shortest_image_edge and crop_fraction nor"),
        ({"use_albumentations": False}, "needs image_target_size and image_crop_size"),
        ({"crop_fraction": 1.5}, "crop_fraction 1.5 must be above 0"),
        (
            {"color_jitter_params": {"brigthness": 1}},
            "'brigthness' is not a color jitter parameter .did you mean 'brightness'",
        ),
        ({"color_jitter_params": {"hue": 0.6}}, "color jitter hue is 0.6; it must be a number from 0 to 0.5"),
        ({"extra_augmentation_config": {"noise": []}}, "unknown entry 'noise'"),
        ({"extra_augmentation_config": {"masked_region_transforms": [{"alpha_range": 3}]}}, "is not of the form"),
        ({"extra_augmentation_config": {"masked_region_transforms": ["x"]}}, "is not of the form"),
    ],
)
def test_contradictory_options_are_reported_in_a_sentence(options: dict, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        ImagePipelines.of(ImageOptions(**options))
