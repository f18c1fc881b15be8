"""Images to the pixel values of GR00T N1.6's vision tower, as Eagle's image processor makes them (N1.6 specification
B.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from groot_ray.errors import ConfigurationError

PATCH = 28  # pixels to a side of one token: patches of 14, pooled by 2
_MIN_TOKENS, _MAX_TOKENS = 4, 4096
_MAX_SIDE = 7000
_MAX_ASPECT = 200


def smart_size(height: int, width: int) -> tuple[int, int]:
    """The multiples of 28 nearest to an image's sides, changed so that it has between 4 and 4096 tokens.

    Raises:
        ConfigurationError: one side is more than 200 times the other.
    """
    if max(height, width) > _MAX_ASPECT * min(height, width):
        raise ConfigurationError(
            f"an image of {height}x{width} is too narrow; one side may be at most {_MAX_ASPECT} times the other"
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


def smart_resize(image: np.ndarray) -> np.ndarray:
    """Resize uint8 [H, W, 3] to `smart_size` with Pillow's bicubic filter, which the model was trained with."""
    height, width = smart_size(*image.shape[:2])
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def pixel_values(images: Sequence[np.ndarray]) -> np.ndarray:
    """Images uint8 [H, W, 3] of one size as float32 [N, 3, H, W] in [-1, 1]."""
    height, width = images[0].shape[:2]
    values = np.empty((len(images), 3, height, width), dtype=np.float32)
    for image, target in zip(images, values, strict=True):
        np.subtract(np.ascontiguousarray(image.transpose(2, 0, 1)), np.float32(127.5), out=target)
    values /= np.float32(127.5)
    return values


def batch_pixels(images: Sequence[np.ndarray]) -> torch.Tensor | list[torch.Tensor]:
    """Pixel values float32 of all images of a batch: [N, 3, H, W], or a list of [1, 3, H, W] where their sizes
    differ.
    """
    if len({image.shape for image in images}) == 1:
        return torch.from_numpy(pixel_values(images))
    return [torch.from_numpy(pixel_values([image])) for image in images]
