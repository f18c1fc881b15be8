"""Steps of an image pipeline: letterbox, resize, crop and rotation, each a small frozen transform.

A fixed step maps an image to an image. A random step draws its parameters and returns the fixed step that uses them, so
one draw can be replayed on many images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np


class ImageStep(Protocol):
    """One fixed step: uint8 RGB [H, W, 3] to uint8 RGB [H', W', 3]."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The image after this step; the given one is unchanged."""
        ...


class RandomStep(Protocol):
    """One step with random parameters."""

    def __call__(self, rng: np.random.Generator) -> ImageStep:
        """Draw the parameters and return the step that uses them."""
        ...


@dataclass(frozen=True)
class ImageSteps:
    """Fixed steps, first to last."""

    steps: tuple[ImageStep, ...]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] after all steps."""
        for step in self.steps:
            image = step(image)
        return image


@dataclass(frozen=True)
class RandomSteps:
    """Random steps, first to last. They draw in this order, from the same generator."""

    steps: tuple[RandomStep, ...]

    def __call__(self, rng: np.random.Generator) -> ImageSteps:
        """Draw the parameters of all steps."""
        return ImageSteps(tuple(step(rng) for step in self.steps))


@dataclass(frozen=True)
class Always:
    """A fixed step among random ones; it draws nothing."""

    step: ImageStep

    def __call__(self, rng: np.random.Generator) -> ImageStep:
        """The step itself."""
        return self.step


@dataclass(frozen=True)
class LetterBox:
    """Pad with black to a centered square; an odd row or column goes to the bottom or right."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """[H, W, 3] to [S, S, 3] with S = max(H, W)."""
        height, width = image.shape[:2]
        if height == width:
            return image
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        square = np.zeros((side, side, 3), dtype=image.dtype)
        square[top : top + height, left : left + width] = image
        return square


@dataclass(frozen=True)
class ResizeShortest:
    """Resize, up or down, so that the shorter side is `edge` pixels; by area, aspect kept."""

    edge: int

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] to uint8 [H', W', 3] with min(H', W') = `edge`."""
        height, width = image.shape[:2]
        shorter = min(height, width)
        if shorter == self.edge:
            return np.ascontiguousarray(image)
        scale = self.edge / shorter
        return cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)


@dataclass(frozen=True)
class ResizeAntialiased:
    """Resize to a fixed size: bilinear with antialiasing on uint8, the kernel behind torchvision's Resize."""

    height: int
    width: int

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] to uint8 [`height`, `width`, 3]."""
        import torch

        if image.shape[:2] == (self.height, self.width):
            return np.ascontiguousarray(image)
        planes = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]  # [1, 3, H, W]
        resized = torch.nn.functional.interpolate(
            planes, size=(self.height, self.width), mode="bilinear", align_corners=False, antialias=True
        )
        return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


class CropSize(Protocol):
    """The size of a crop as a function of the image's size, in pixels."""

    def __call__(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the crop."""
        ...


@dataclass(frozen=True)
class FractionSize:
    """A fraction of each side, rounded down, at least 1."""

    fraction: float

    def __call__(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the crop."""
        return max(1, int(height * self.fraction)), max(1, int(width * self.fraction))


@dataclass(frozen=True)
class FixedSize:
    """The same size for every image, or the image's own side where that is shorter."""

    height: int
    width: int

    def __call__(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the crop."""
        return min(self.height, height), min(self.width, width)


@dataclass(frozen=True)
class CenterCrop:
    """The center of an image, for evaluation.

    Where the margin is odd, the offset is rounded half to even (torchvision) or down (albumentations).
    """

    size: CropSize
    half_to_even: bool = False

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """[H, W, 3] to a view [h, w, 3]."""
        height, width = self.size(*image.shape[:2])
        top, left = self._half(image.shape[0] - height), self._half(image.shape[1] - width)
        return image[top : top + height, left : left + width]

    def _half(self, margin: int) -> int:
        return round(margin / 2) if self.half_to_even else margin // 2


@dataclass(frozen=True)
class Crop:
    """A crop whose offsets down and right are the shares `at`, in [0, 1), of the margin; all offsets are equally
    likely for uniform shares.
    """

    size: CropSize
    at: tuple[float, float]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """[H, W, 3] to a view [h, w, 3]."""
        height, width = self.size(*image.shape[:2])
        top = int(self.at[0] * (image.shape[0] - height + 1))
        left = int(self.at[1] * (image.shape[1] - width + 1))
        return image[top : top + height, left : left + width]


@dataclass(frozen=True)
class RandomCrop:
    """A crop at a random position, for training."""

    size: CropSize

    def __call__(self, rng: np.random.Generator) -> Crop:
        """Draw the position."""
        return Crop(self.size, (rng.random(), rng.random()))


@dataclass(frozen=True)
class Rotate:
    """Rotate counter-clockwise about the center by `angle` degrees; the size stays.

    `interpolation` and `border` are OpenCV's flags.
    """

    angle: float
    interpolation: int
    border: int

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3], rotated."""
        if not self.angle:
            return image
        height, width = image.shape[:2]
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), self.angle, 1.0)
        return cv2.warpAffine(image, matrix, (width, height), flags=self.interpolation, borderMode=self.border)


@dataclass(frozen=True)
class RandomRotation:
    """Rotate by an angle uniform in [-`limit`, `limit`] degrees."""

    limit: float
    interpolation: int
    border: int

    def __call__(self, rng: np.random.Generator) -> Rotate:
        """Draw the angle."""
        return Rotate(rng.uniform(-self.limit, self.limit), self.interpolation, self.border)
