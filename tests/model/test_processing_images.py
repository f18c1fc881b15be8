"""Pictures: equal to the reference's without augmentation, of the same distribution with it."""

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
from groot_ray.model.shared.color import ColorJitter, JitterDraw, jitter_albumentations, jitter_torchvision
from groot_ray.model.shared.images import (
    ImageOptions,
    ImageTransform,
    letter_box,
    pixel_values,
    resize_shortest,
    smart_resize,
    smart_size,
)
from groot_ray.model.shared.masks import MaskAugmentation

REFERENCE = recording()
RAW = [REFERENCE["raw_image.front"][0], REFERENCE["raw_image.wrist"][0]]
JITTER = {"brightness": 0.3, "contrast": 0.4, "saturation": 0.5, "hue": 0.08}


def _picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth colorful picture."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def test_evaluation_pictures_equal_the_reference_to_the_last_bit() -> None:
    pictures = ImageTransform(ImageOptions()).evaluate(RAW)
    np.testing.assert_array_equal(pictures, REFERENCE["eval.images"])


def test_pixel_values_equal_the_reference_to_the_last_bit() -> None:
    values = pixel_values([smart_resize(picture) for picture in REFERENCE["eval.images"]])
    expected = np.concatenate([REFERENCE["batch.pixel_values_0"], REFERENCE["batch.pixel_values_1"]])
    np.testing.assert_array_equal(values, expected)


def test_training_pictures_of_the_reference_are_among_the_crops() -> None:
    """The recorded training sample has one crop for both cameras, which only differ from ours in where chance put it."""
    transform = ImageTransform(ImageOptions())
    squares = [resize_shortest(letter_box(picture), 256) for picture in RAW]
    found = []
    for top in range(14):
        for left in range(14):
            crops = [resize_shortest(square[top : top + 243, left : left + 243], 256) for square in squares]
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
    transform = ImageTransform(ImageOptions())
    ramp = np.zeros((256, 256, 3), dtype=np.uint8)
    ramp[..., 0] = np.arange(256)[:, None]
    ramp[..., 1] = np.arange(256)[None]
    rng = np.random.default_rng(3)
    drawn: Counter[tuple[int, int]] = Counter()
    for _ in range(20_000):
        draw = transform._draw(rng)
        drawn[int(draw.crop[0] * 14), int(draw.crop[1] * 14)] += 1
    expected = 20_000 / 196
    assert set(drawn) == {(y, x) for y in range(14) for x in range(14)}
    # 195 degrees of freedom: mean 195, deviation 20.
    assert sum((n - expected) ** 2 / expected for n in drawn.values()) < 195 + 4 * 20
    corners = {tuple(transform.train([ramp], np.random.default_rng(seed))[0][0, 0, :2]) for seed in range(300)}
    assert len(corners) > 100 and max(max(c) for c in corners) <= 13


def test_one_draw_is_replayed_on_all_frames_and_cameras() -> None:
    transform = ImageTransform(ImageOptions(random_rotation_angle=10, color_jitter_params=JITTER))
    picture = _picture(240, 320)
    same = transform.train([picture] * 4, np.random.default_rng(0))
    assert all(np.array_equal(same[0], other) for other in same[1:])
    assert not np.array_equal(same[0], transform.train([picture], np.random.default_rng(1))[0])
    assert np.array_equal(same[0], transform.train([picture], np.random.default_rng(0))[0])


def test_cameras_of_other_shapes_are_letterboxed_each_by_its_own() -> None:
    wide, tall = _picture(120, 200), _picture(200, 120)
    for pictures in (
        ImageTransform(ImageOptions()).evaluate([wide, tall]),
        ImageTransform(ImageOptions()).train([wide, tall], np.random.default_rng(0)),
    ):
        assert [p.shape for p in pictures] == [(256, 256, 3)] * 2
        assert not pictures[0][:20].any() and pictures[0][:, :4].any()
        assert not pictures[1][:, :20].any() and pictures[1][:4].any()


@given(st.integers(1, 40), st.integers(1, 40))
def test_letterbox_centers_the_picture(height: int, width: int) -> None:
    picture = np.full((height, width, 3), 7, dtype=np.uint8)
    square = letter_box(picture)
    side = max(height, width)
    assert square.shape == (side, side, 3)
    top, left = (side - height) // 2, (side - width) // 2
    assert square[top : top + height, left : left + width].all()
    assert int((square > 0).sum()) == picture.size


def test_pictures_stay_as_they_are_without_a_crop() -> None:
    picture = _picture(256, 256)
    np.testing.assert_array_equal(ImageTransform(ImageOptions(crop_fraction=1.0)).evaluate([picture])[0], picture)


def test_without_letterbox_the_aspect_is_kept() -> None:
    picture = _picture(120, 200)
    assert ImageTransform(ImageOptions(letter_box=False)).evaluate([picture])[0].shape == (256, 427, 3)


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


def test_smart_size_of_the_usual_pictures() -> None:
    assert smart_size(256, 256) == (252, 252) and smart_size(224, 224) == (224, 224) and smart_size(14, 42) == (56, 112)


def test_rotation_turns_about_the_center() -> None:
    picture = _picture(256, 256)
    transform = ImageTransform(ImageOptions(crop_fraction=1.0, random_rotation_angle=90))
    draw = transform._draw(np.random.default_rng(0))
    turned = transform._train_albumentations(picture, type(draw)(crop=(0, 0), angle=90.0, jitter=None))
    assert np.abs(turned.astype(int) - np.rot90(picture)).max() <= 1
    angles = [transform._draw(np.random.default_rng(seed)).angle for seed in range(500)]
    assert -90 <= min(angles) < -85 and 85 < max(angles) <= 90


@pytest.mark.parametrize("jitter", [jitter_albumentations, jitter_torchvision])
def test_neutral_and_extreme_changes(jitter: Any) -> None:
    picture = _picture(64, 64)
    neutral = JitterDraw((("brightness", 1.0), ("contrast", 1.0), ("saturation", 1.0)))
    assert np.abs(jitter(picture, neutral).astype(int) - picture).max() == 0
    assert (
        np.abs(jitter(picture, JitterDraw((("hue", 0.0),))).astype(int) - picture).max() <= 6
    )  # 180 steps of hue in 8 bits
    assert not jitter(picture, JitterDraw((("brightness", 0.0),))).any()
    flat = jitter(picture, JitterDraw((("contrast", 0.0),)))
    assert flat.min() == flat.max()
    gray = jitter(picture, JitterDraw((("saturation", 0.0),))).astype(int)
    assert np.ptp(gray, axis=2).max() == 0
    red = np.zeros((4, 4, 3), dtype=np.uint8)
    red[..., 0] = 200
    np.testing.assert_allclose(jitter(red, JitterDraw((("hue", 1 / 3),))), np.roll(red, 1, axis=2), atol=1)


@given(st.floats(0, 2), st.integers(0, 255))
def test_brightness_multiplies_and_cuts_off_fractions(factor: float, level: int) -> None:
    picture = np.full((2, 2, 3), level, dtype=np.uint8)
    expected = min(255, int(np.float32(level) * np.float32(factor)))
    assert (jitter_albumentations(picture, JitterDraw((("brightness", factor),))) == expected).all()


def test_both_flavors_of_jitter_are_alike() -> None:
    picture = _picture(64, 64)
    for seed in range(30):
        draw = ColorJitter.from_params(JITTER).draw(np.random.default_rng(seed))
        difference = jitter_albumentations(picture, draw).astype(int) - jitter_torchvision(picture, draw)
        assert np.abs(difference).mean() < 3


def test_jitter_draws_are_uniform_and_in_any_order() -> None:
    jitter = ColorJitter.from_params(JITTER)
    rng = np.random.default_rng(0)
    draws = [dict(jitter.draw(rng).changes) for _ in range(2000)]
    for name, largest in JITTER.items():
        values = np.array([d[name] for d in draws]) - (0 if name == "hue" else 1)
        assert np.abs(values).max() <= largest and abs(values.mean()) < 0.05 * largest
        assert abs(values.std() - largest / np.sqrt(3)) < 0.03 * largest
    assert len({tuple(d) for d in draws}) == 24
    assert ColorJitter.from_params({"brightness": 2.0}).draw(rng).changes[0][1] >= 0
    assert ColorJitter.from_params({}).draw(rng).changes == ()


def test_torchvision_pipeline() -> None:
    options = ImageOptions(
        use_albumentations=False, image_target_size=[224, 224], image_crop_size=[213, 213], shortest_image_edge=None,
        crop_fraction=None, color_jitter_params=JITTER, random_rotation_angle=5,
    )  # fmt: skip
    transform = ImageTransform(options)
    picture = _picture(240, 320)
    resized = np.asarray(Image.fromarray(letter_box(picture)).resize((224, 224), Image.Resampling.BILINEAR))
    crop = Image.fromarray(resized[6:219, 6:219]).resize((224, 224), Image.Resampling.BILINEAR)
    evaluated = transform.evaluate([picture])[0]
    assert np.abs(evaluated.astype(int) - np.asarray(crop)).max() <= 2  # torch's kernel rounds once less than Pillow's
    one, two = transform.train([picture, picture], np.random.default_rng(0))
    assert one.shape == (224, 224, 3) and one.dtype == np.uint8
    assert not np.array_equal(one, two)  # each picture has its own draw


def test_masked_regions_are_changed_and_nothing_else() -> None:
    picture = _picture(40, 40)
    mask = np.zeros((40, 40), dtype=np.int32)
    mask[10:20, 10:20] = 4
    noise = MaskAugmentation.from_config({"background_noise_transforms": [{}]})
    changed = noise.apply(picture, mask, np.random.default_rng(0))
    np.testing.assert_array_equal(changed[mask == 4], picture[mask == 4])
    assert (changed[mask == 0] != picture[mask == 0]).mean() > 0.9
    tint = MaskAugmentation.from_config(
        {"masked_region_transforms": [{"target_mask_values": [4], "p": 1.0, "alpha_range": [1.0, 1.0]}]}
    )
    changed = tint.apply(picture, mask == 4, np.random.default_rng(0))
    np.testing.assert_array_equal(changed, picture)  # a bool mask holds 0 and 1, not 4
    changed = tint.apply(picture, mask, np.random.default_rng(0))
    np.testing.assert_array_equal(changed[mask == 0], picture[mask == 0])
    assert len(np.unique(changed[mask == 4], axis=0)) == 1
    rng = np.random.default_rng(0)
    half = MaskAugmentation.from_config({"masked_region_transforms": [{"target_mask_values": [4]}]})
    times = sum(not np.array_equal(half.apply(picture, mask, rng), picture) for _ in range(400))
    assert 150 < times < 250


def test_masks_change_training_pictures_before_the_crop() -> None:
    config = {"background_noise_transforms": [{"target_mask_values": [0], "p": 1.0}]}
    transform = ImageTransform(ImageOptions(extra_augmentation_config=config))
    picture = np.full((256, 256, 3), 100, dtype=np.uint8)
    masks = [np.ones((256, 256), np.uint8), np.zeros((256, 256), np.uint8)]
    kept, noisy = transform.train([picture, picture], np.random.default_rng(0), masks)
    assert (kept == 100).all() and noisy.std() > 30
    assert (transform.evaluate([picture])[0] == 100).all()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"shortest_image_edge": None}, "neither shortest_image_edge and crop_fraction nor"),
        ({"use_albumentations": False}, "needs image_target_size and image_crop_size"),
        ({"crop_fraction": 1.5}, "crop_fraction 1.5 must be above 0"),
        (
            {"color_jitter_params": {"brigthness": 1}},
            "'brigthness' is no color jitter parameter .did you mean 'brightness'",
        ),
        ({"color_jitter_params": {"hue": 0.6}}, "color jitter hue is 0.6; it must be a number from 0 to 0.5"),
        ({"extra_augmentation_config": {"noise": []}}, "unknown entry 'noise'"),
        ({"extra_augmentation_config": {"masked_region_transforms": [{"alpha_range": 3}]}}, "is not of the form"),
        ({"extra_augmentation_config": {"masked_region_transforms": ["x"]}}, "is not of the form"),
    ],
)
def test_contradictory_options_are_told_in_a_sentence(options: dict, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        ImageTransform(ImageOptions(**options))
