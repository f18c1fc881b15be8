"""Random changes of brightness, contrast, saturation and hue, in the two flavors that GR00T N1.6 is trained with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from groot_ray.errors import ConfigurationError, did_you_mean

_NAMES = ("brightness", "contrast", "saturation", "hue")
_LEVELS = np.arange(256, dtype=np.float32)
_GRAY = np.array([0.2989, 0.587, 0.114], dtype=np.float32)  # ITU-R 601-2 luma, as torchvision rounds it

Change = Callable[[np.ndarray, float], np.ndarray]
Changes = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class AlbumentationsJitter:
    """Color changes as albumentations makes them: tables that drop fractions, OpenCV's 8-bit gray and hue (180 steps
    per turn).

    `changes` are (name, factor) in the order in which they are applied; the neutral factor is 1, and 0 (turns) for hue.
    """

    changes: Changes

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 RGB [H, W, 3] with changed colors."""
        for name, factor in self.changes:
            image = _ALBUMENTATIONS[name](image, factor)
        return image


@dataclass(frozen=True)
class TorchvisionJitter:
    """Color changes as torchvision makes them: blends in float32, truncated to integers after each change.

    `changes` are as in `AlbumentationsJitter`.
    """

    changes: Changes

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 RGB [H, W, 3] with changed colors."""
        for name, factor in self.changes:
            image = _TORCHVISION[name](image, factor)
        return image


JitterKind = type[AlbumentationsJitter] | type[TorchvisionJitter]


@dataclass(frozen=True)
class ColorJitter:
    """Random color changes in random order, `x` being the largest of a name: factors are uniform in
    [max(0, 1 - x), 1 + x], hue in [-x, x] turns. `kind` applies them.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    kind: JitterKind = AlbumentationsJitter

    @classmethod
    def from_params(cls, params: Mapping[str, float], kind: JitterKind = AlbumentationsJitter) -> ColorJitter:
        """Read ``color_jitter_params``.

        Raises:
            ConfigurationError: an unknown name, a negative value, or a hue above 0.5.
        """
        for name, value in params.items():
            if name not in _NAMES:
                raise ConfigurationError(
                    f"{name!r} is not a color jitter parameter{did_you_mean(name, _NAMES)}; there are "
                    f"{', '.join(_NAMES)}"
                )
            if not isinstance(value, (int, float)) or value < 0 or (name == "hue" and value > 0.5):
                raise ConfigurationError(
                    f"color jitter {name} is {value!r}; it must be a number from "
                    f"0{' to 0.5' if name == 'hue' else ' on'}"
                )
        return cls(**{name: float(value) for name, value in params.items()}, kind=kind)

    def __call__(self, rng: np.random.Generator) -> AlbumentationsJitter | TorchvisionJitter:
        """Draw factors and their order; names whose largest change is 0 are left out."""
        changes = []
        for name in _NAMES:
            largest = getattr(self, name)
            if largest:
                low, high = (-largest, largest) if name == "hue" else (max(0.0, 1 - largest), 1 + largest)
                changes.append((name, float(rng.uniform(low, high))))
        return self.kind(tuple(changes[i] for i in rng.permutation(len(changes))))


def _brightness(image: np.ndarray, factor: float) -> np.ndarray:
    return cv2.LUT(image, _table(_LEVELS * np.float32(factor)))


def _contrast(image: np.ndarray, factor: float) -> np.ndarray:
    mean = cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0]
    return cv2.LUT(image, _table(_LEVELS * np.float32(factor) + np.float32(mean * (1 - factor))))


def _saturation(image: np.ndarray, factor: float) -> np.ndarray:
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(image, factor, gray, 1 - factor, 0)


def _hue(image: np.ndarray, turns: float) -> np.ndarray:
    hue, saturation, value = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV))
    turned = np.mod(_LEVELS + 180 * turns, 180).astype(np.uint8)
    return cv2.cvtColor(cv2.merge([cv2.LUT(hue, turned), saturation, value]), cv2.COLOR_HSV2RGB)


def _table(levels: np.ndarray) -> np.ndarray:
    return np.clip(levels, 0, 255).astype(np.uint8)


def _blend(image: np.ndarray, other: np.ndarray | float, factor: float) -> np.ndarray:
    mixed = image * np.float32(factor) + np.float32(1 - factor) * np.float32(other)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def _tv_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    return _blend(image, float(np.floor(image @ _GRAY).mean()), factor)


def _tv_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    return _blend(image, np.floor(image @ _GRAY)[..., None], factor)


def _tv_hue(image: np.ndarray, turns: float) -> np.ndarray:
    hsv = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = np.mod(hsv[..., 0] + 360 * turns, 360)
    return np.clip(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255.999, 0, 255).astype(np.uint8)


_ALBUMENTATIONS: dict[str, Change] = {
    "brightness": _brightness,
    "contrast": _contrast,
    "saturation": _saturation,
    "hue": _hue,
}
_TORCHVISION: dict[str, Change] = {
    "brightness": lambda image, factor: _blend(image, 0.0, factor),
    "contrast": _tv_contrast,
    "saturation": _tv_saturation,
    "hue": _tv_hue,
}
