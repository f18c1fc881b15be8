"""Camera pictures to what the vision tower sees: letterbox, crop and resize, augmentation, and pixel values.

Two pipelines, as in GR00T N1.6. The usual one has albumentations' semantics: one random crop, rotation and color jitter is drawn
for a sample and replayed on all its frames and cameras. The other, for checkpoints with ``use_albumentations: false``, has
torchvision's: every picture is augmented on its own. Without augmentation results equal the reference's to the last bit. Random
parameters have the reference's distributions but are drawn from a numpy Generator, not from its global generators, so augmented
pictures agree in distribution only. Each camera is letterboxed by its own shape, in training too, where the reference replays the
first camera's padding on cameras of other shapes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

from groot_ray.errors import ConfigurationError
from groot_ray.model.shared.color import ColorJitter, JitterDraw, jitter_albumentations, jitter_torchvision
from groot_ray.model.shared.masks import MaskAugmentation

PATCH = 28  # pixels to a side for one token: patches of 14 and pooling by 2
_MIN_TOKENS, _MAX_TOKENS = 4, 4096
_MAX_SIDE = 7000
_MAX_ASPECT = 200


@dataclass(frozen=True)
class ImageOptions:
    """What a checkpoint's ``processor_config.json`` says of pictures, and the augmentation that finetuning adds.

    Attributes:
        shortest_image_edge: side of the pictures in pixels; the first of `image_target_size` when None.
        crop_fraction: side of the crop as a share; `image_crop_size` / `image_target_size` when None.
        random_rotation_angle: largest rotation in degrees, either way.
        color_jitter_params: brightness, contrast, saturation and hue, each the largest change.
        letter_box: pad to a square before all else.
        extra_augmentation_config: augmentation of masked regions; see `masks`.
    """

    shortest_image_edge: int | None = 256
    crop_fraction: float | None = 0.95
    image_target_size: Sequence[int] | None = None
    image_crop_size: Sequence[int] | None = None
    random_rotation_angle: float | None = None
    color_jitter_params: Mapping[str, float] | None = None
    use_albumentations: bool = True
    letter_box: bool = True
    extra_augmentation_config: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class _Draw:
    """Random parameters of one sample, or of one picture where each has its own."""

    crop: tuple[float, float]  # uniform in [0, 1): share of the room that the crop has to move, down and right
    angle: float  # degrees, counter-clockwise
    jitter: JitterDraw | None


class ImageTransform:
    """Pictures uint8 RGB [H, W, 3] of any size to the size that the model is trained on.

    Raises:
        ConfigurationError: the options contradict each other.
    """

    def __init__(self, options: ImageOptions) -> None:
        o = self.options = options
        target, crop = o.image_target_size, o.image_crop_size
        edge = o.shortest_image_edge if o.shortest_image_edge is not None else (target[0] if target else None)
        fraction = (
            o.crop_fraction if o.crop_fraction is not None else (crop[0] / target[0] if target and crop else None)
        )
        if edge is None or fraction is None:
            raise ConfigurationError(
                "the processor says neither shortest_image_edge and crop_fraction nor image_target_size and image_crop_size; give one pair"
            )
        if not o.use_albumentations and (target is None or crop is None):
            raise ConfigurationError(
                "the processor has use_albumentations: false, which needs image_target_size and image_crop_size; give them or turn it on"
            )
        if not 0 < fraction <= 1 or edge < 1:
            raise ConfigurationError(
                f"crop_fraction {fraction} must be above 0 and at most 1, and shortest_image_edge {edge} above 0"
            )
        if o.extra_augmentation_config and not o.use_albumentations:
            raise ConfigurationError(
                "extra_augmentation_config needs use_albumentations: true; turn it on or leave the augmentation out"
            )
        self.edge = int(edge)
        self.fraction = float(fraction)
        self.jitter = None if o.color_jitter_params is None else ColorJitter.from_params(o.color_jitter_params)
        self.masks = MaskAugmentation.from_config(o.extra_augmentation_config) if o.extra_augmentation_config else None

    def evaluate(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The pictures with the center crop; uint8 [edge, edge, 3] each (where letter-boxed)."""
        transform = self._evaluate_albumentations if self.options.use_albumentations else self._evaluate_torchvision
        return [transform(picture) for picture in pictures]

    def train(
        self, pictures: Sequence[np.ndarray], rng: np.random.Generator, masks: Sequence[np.ndarray] | None = None
    ) -> list[np.ndarray]:
        """The pictures of one sample, augmented; `masks` are integer [H, W] each, where regions are to be augmented."""
        if not self.options.use_albumentations:
            return [self._train_torchvision(picture, self._draw(rng)) for picture in pictures]
        if masks is not None and self.masks is not None:
            pictures = [self.masks.apply(picture, mask, rng) for picture, mask in zip(pictures, masks, strict=True)]
        draw = self._draw(rng)
        return [self._train_albumentations(picture, draw) for picture in pictures]

    def _draw(self, rng: np.random.Generator) -> _Draw:
        limit = self.options.random_rotation_angle or 0.0
        return _Draw(
            crop=(rng.random(), rng.random()),
            angle=rng.uniform(-limit, limit) if limit else 0.0,
            jitter=self.jitter.draw(rng) if self.jitter is not None else None,
        )

    # albumentations' semantics

    def _evaluate_albumentations(self, picture: np.ndarray) -> np.ndarray:
        picture = self._squared(picture)
        height, width = self._crop_size(picture)
        top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
        return resize_shortest(picture[top : top + height, left : left + width], self.edge)

    def _train_albumentations(self, picture: np.ndarray, draw: _Draw) -> np.ndarray:
        picture = self._squared(picture)
        height, width = self._crop_size(picture)
        top, left = _offset(draw.crop[0], picture.shape[0] - height), _offset(draw.crop[1], picture.shape[1] - width)
        picture = resize_shortest(picture[top : top + height, left : left + width], self.edge)
        if draw.angle:
            picture = _rotate(picture, draw.angle, cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101)
        return picture if draw.jitter is None else jitter_albumentations(picture, draw.jitter)

    def _squared(self, picture: np.ndarray) -> np.ndarray:
        return resize_shortest(letter_box(picture) if self.options.letter_box else picture, self.edge)

    def _crop_size(self, picture: np.ndarray) -> tuple[int, int]:
        return max(1, int(picture.shape[0] * self.fraction)), max(1, int(picture.shape[1] * self.fraction))

    # torchvision's semantics

    def _evaluate_torchvision(self, picture: np.ndarray) -> np.ndarray:
        picture, (height, width) = self._prepared(picture)
        # The center is rounded half to even, as torchvision does it.
        top, left = round((picture.shape[0] - height) / 2), round((picture.shape[1] - width) / 2)
        return self._to_target(picture[top : top + height, left : left + width])

    def _train_torchvision(self, picture: np.ndarray, draw: _Draw) -> np.ndarray:
        picture, (height, width) = self._prepared(picture)
        top, left = _offset(draw.crop[0], picture.shape[0] - height), _offset(draw.crop[1], picture.shape[1] - width)
        picture = self._to_target(picture[top : top + height, left : left + width])
        if draw.angle:
            picture = _rotate(picture, draw.angle, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)
        return picture if draw.jitter is None else jitter_torchvision(picture, draw.jitter)

    def _prepared(self, picture: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        crop = self.options.image_crop_size
        assert crop is not None  # checked when made
        picture = self._to_target(letter_box(picture) if self.options.letter_box else picture)
        return picture, (min(crop[0], picture.shape[0]), min(crop[1], picture.shape[1]))

    def _to_target(self, picture: np.ndarray) -> np.ndarray:
        target = self.options.image_target_size
        assert target is not None  # checked when made
        return _resize_antialiased(picture, target[0], target[1])


def letter_box(picture: np.ndarray) -> np.ndarray:
    """Pad [H, W, 3] with black to a centered square; an odd row or column goes to the bottom or right."""
    height, width = picture.shape[:2]
    if height == width:
        return picture
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.zeros((side, side, 3), dtype=picture.dtype)
    square[top : top + height, left : left + width] = picture
    return square


def resize_shortest(picture: np.ndarray, edge: int) -> np.ndarray:
    """Resize [H, W, 3], up or down, so that its shorter side is `edge`; by area, aspect kept."""
    height, width = picture.shape[:2]
    shorter = min(height, width)
    if shorter == edge:
        return np.ascontiguousarray(picture)
    scale = edge / shorter
    return cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)


def smart_size(height: int, width: int) -> tuple[int, int]:
    """The multiples of 28 nearest to a picture's sides, changed so that it has between 4 and 4096 tokens.

    Raises:
        ConfigurationError: one side is more than 200 times the other.
    """
    if max(height, width) > _MAX_ASPECT * min(height, width):
        raise ConfigurationError(
            f"a picture of {height}x{width} is too narrow; one side may be at most {_MAX_ASPECT} times the other"
        )
    rows = min(max(PATCH, round(height / PATCH) * PATCH), _MAX_SIDE)
    columns = min(max(PATCH, round(width / PATCH) * PATCH), _MAX_SIDE)
    area = PATCH * PATCH
    if rows * columns > _MAX_TOKENS * area:
        shrink = math.sqrt(rows * columns / (_MAX_TOKENS * area))
        return math.floor(rows / shrink / PATCH) * PATCH, math.floor(columns / shrink / PATCH) * PATCH
    if rows * columns < _MIN_TOKENS * area:
        grow = math.sqrt(_MIN_TOKENS * area / (height * width))
        return math.ceil(height * grow / PATCH) * PATCH, math.ceil(width * grow / PATCH) * PATCH
    return rows, columns


def smart_resize(picture: np.ndarray) -> np.ndarray:
    """Resize uint8 [H, W, 3] to `smart_size` with Pillow's bicubic filter, which the model was trained with."""
    height, width = smart_size(*picture.shape[:2])
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def pixel_values(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures uint8 [H, W, 3] of one size as float32 [N, 3, H, W] in [-1, 1]."""
    height, width = pictures[0].shape[:2]
    values = np.empty((len(pictures), 3, height, width), dtype=np.float32)
    for picture, target in zip(pictures, values, strict=True):
        np.subtract(np.ascontiguousarray(picture.transpose(2, 0, 1)), np.float32(127.5), out=target)
    values /= np.float32(127.5)
    return values


def _offset(share: float, room: int) -> int:
    """A whole number from 0 to `room`, all equally likely, from a uniform share in [0, 1)."""
    return int(share * (room + 1))


def _rotate(picture: np.ndarray, angle: float, interpolation: int, border: int) -> np.ndarray:
    """Rotate counter-clockwise about the center by `angle` degrees; the size stays."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    return cv2.warpAffine(picture, matrix, (width, height), flags=interpolation, borderMode=border)


def _resize_antialiased(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear with antialiasing on uint8, the kernel behind torchvision's Resize."""
    import torch

    if picture.shape[:2] == (height, width):
        return np.ascontiguousarray(picture)
    planes = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(
        planes, size=(height, width), mode="bilinear", align_corners=False, antialias=True
    )
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())
