"""Augmentation of masked regions in training images: noise in place of the background, and tinted objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from groot_ray.errors import ConfigurationError, did_you_mean

_LISTS = ("background_noise_transforms", "masked_region_transforms")


@dataclass(frozen=True)
class _Region:
    """Where mask values are among `values`, change the image with `probability`."""

    values: tuple[int, ...]
    probability: float
    alpha: tuple[float, float] | None  # opacity range of a random color; None: noise instead


@dataclass(frozen=True)
class MaskAugmentation:
    """Changes of masked regions, drawn for each image separately, in order, before any crop."""

    regions: tuple[_Region, ...]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> MaskAugmentation:
        """Read ``extra_augmentation_config``.

        ``background_noise_transforms``: list of ``{target_mask_values: [0], p: 1.0}``; ``masked_region_transforms``:
        list of ``{target_mask_values, p: 0.5, alpha_range: [0.3, 1.0]}``.

        Raises:
            ConfigurationError: an unknown or malformed entry.
        """
        for key in config:
            if key not in _LISTS:
                raise ConfigurationError(
                    f"extra_augmentation_config has an unknown entry {key!r}{did_you_mean(str(key), _LISTS)}; there "
                    f"are {', '.join(_LISTS)}"
                )
        try:
            noise = [_Region(_values(c, [0]), float(c.get("p", 1.0)), None) for c in config.get(_LISTS[0], ())]
            tint = [
                _Region(_values(c, []), float(c.get("p", 0.5)), _alpha(c.get("alpha_range", [0.3, 1.0])))
                for c in config.get(_LISTS[1], ())
            ]
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ConfigurationError(
                "extra_augmentation_config is not of the form "
                f"{{'{_LISTS[1]}': [{{'target_mask_values': [4], 'p': 0.5, 'alpha_range': [0.3, 1.0]}}]}}: {error}"
            ) from None
        return cls((*noise, *tint))

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A changed copy of uint8 [H, W, 3] where `mask` (integer or bool, [H, W] or [H, W, 1]) has target values."""
        mask = mask[..., 0] if mask.ndim == 3 else mask
        for region in self.regions:
            if rng.random() >= region.probability:
                continue
            inside = np.isin(mask, region.values)
            if inside.any():
                image = image.copy()
                image[inside] = (
                    _noise(image, inside, rng) if region.alpha is None else _tinted(image, inside, region.alpha, rng)
                )
        return image


def _noise(image: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, size=(int(inside.sum()), 3), dtype=np.uint8)


def _tinted(image: np.ndarray, inside: np.ndarray, alpha: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    color = rng.integers(0, 256, size=3).astype(np.float32)
    strength = np.float32(rng.uniform(*alpha))
    return np.clip(image[inside] * (1 - strength) + color * strength, 0, 255).astype(np.uint8)


def _values(config: Mapping[str, Any], default: list[int]) -> tuple[int, ...]:
    return tuple(int(value) for value in config.get("target_mask_values", default))


def _alpha(pair: Any) -> tuple[float, float]:
    low, high = pair
    return float(low), float(high)
