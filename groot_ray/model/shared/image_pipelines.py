"""Camera images to the size that a model is trained on, composed from the steps in `image_steps`, `color` and `masks`.

There are two pipelines, as in GR00T N1.6 and N1.7. The usual one follows albumentations: a sample's random crop,
rotation and color jitter are drawn once and replayed on all its frames and cameras. The other, for checkpoints with
``use_albumentations: false``, follows torchvision: every image has its own draw.

Without augmentation, results equal the reference's to the last bit. Random parameters have the reference's
distributions but come from a numpy Generator instead of its global generators, so augmented images agree in
distribution only. Each camera is letterboxed by its own shape, in training too, where the reference replays the first
camera's padding on cameras of other shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from groot_ray.errors import ConfigurationError
from groot_ray.model.shared.color import AlbumentationsJitter, ColorJitter, JitterKind, TorchvisionJitter
from groot_ray.model.shared.image_steps import (
    Always,
    CenterCrop,
    FixedSize,
    FractionSize,
    ImageStep,
    ImageSteps,
    LetterBox,
    RandomCrop,
    RandomRotation,
    RandomStep,
    RandomSteps,
    ResizeAntialiased,
    ResizeShortest,
)
from groot_ray.model.shared.masks import MaskAugmentation


@dataclass(frozen=True)
class ImageOptions:
    """The image settings of a checkpoint's ``processor_config.json``, and the augmentation that finetuning adds.

    Attributes:
        shortest_image_edge: side of the images in pixels; if None, the first of `image_target_size`.
        crop_fraction: side of the crop as a fraction; if None, `image_crop_size` / `image_target_size`.
        image_target_size: height and width of the images in pixels (torchvision).
        image_crop_size: height and width of the crop in pixels (torchvision).
        random_rotation_angle: largest rotation in degrees, in either direction.
        color_jitter_params: brightness, contrast, saturation and hue, each the largest change.
        use_albumentations: albumentations' semantics instead of torchvision's.
        letter_box: pad to a square first.
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
class Evaluation:
    """The same fixed step for every image."""

    step: ImageStep

    def __call__(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """uint8 RGB [H, W, 3] each, of any size, to uint8 [h, w, 3] each."""
        return [self.step(image) for image in images]


@dataclass(frozen=True)
class Training:
    """Augmentation of a sample's images.

    Attributes:
        step: the random steps, drawn for the sample or for each image.
        replay: one draw for all frames and cameras; otherwise each image has its own.
        regions: augmentation of masked regions, before all else and drawn for each image.
    """

    step: RandomSteps
    replay: bool
    regions: MaskAugmentation | None = None

    def __call__(
        self, images: Sequence[np.ndarray], rng: np.random.Generator, masks: Sequence[np.ndarray] | None = None
    ) -> list[np.ndarray]:
        """uint8 RGB [H, W, 3] each, of any size, to uint8 [h, w, 3] each; `masks` are integer [H, W] each."""
        if masks is not None and self.regions is not None:
            images = [self.regions(image, mask, rng) for image, mask in zip(images, masks, strict=True)]
        if not self.replay:
            return [self.step(rng)(image) for image in images]
        step = self.step(rng)
        return [step(image) for image in images]


@dataclass(frozen=True)
class ImagePipelines:
    """What happens to a sample's images in evaluation (center crop) and in training (augmented)."""

    evaluate: Evaluation
    train: Training

    @classmethod
    def of(cls, options: ImageOptions) -> ImagePipelines:
        """The pipelines of a checkpoint.

        Raises:
            ConfigurationError: the options contradict each other.
        """
        edge, fraction = _edge_and_fraction(options)
        if options.use_albumentations:
            return _albumentations(options, edge, fraction)
        return _torchvision(options)


def _albumentations(options: ImageOptions, edge: int, fraction: float) -> ImagePipelines:
    resize, size = ResizeShortest(edge), FractionSize(fraction)
    square = ImageSteps((*_letter_box(options), resize))
    extra = options.extra_augmentation_config
    augment = _augment(options, AlbumentationsJitter, cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101)
    return ImagePipelines(
        Evaluation(ImageSteps((square, CenterCrop(size), resize))),
        Training(
            RandomSteps((Always(square), RandomCrop(size), Always(resize), *augment)),
            replay=True,
            regions=MaskAugmentation.from_config(extra) if extra else None,
        ),
    )


def _torchvision(options: ImageOptions) -> ImagePipelines:
    target, crop = options.image_target_size, options.image_crop_size
    assert target is not None and crop is not None  # `_edge_and_fraction` has checked them
    resize, size = ResizeAntialiased(target[0], target[1]), FixedSize(crop[0], crop[1])
    square = ImageSteps((*_letter_box(options), resize))
    augment = _augment(options, TorchvisionJitter, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)
    return ImagePipelines(
        Evaluation(ImageSteps((square, CenterCrop(size, half_to_even=True), resize))),
        Training(RandomSteps((Always(square), RandomCrop(size), Always(resize), *augment)), replay=False),
    )


def _letter_box(options: ImageOptions) -> tuple[ImageStep, ...]:
    return (LetterBox(),) if options.letter_box else ()


def _augment(options: ImageOptions, kind: JitterKind, interpolation: int, border: int) -> tuple[RandomStep, ...]:
    """Rotation and color jitter, where the options ask for them."""
    steps: list[RandomStep] = []
    if options.random_rotation_angle:
        steps.append(RandomRotation(options.random_rotation_angle, interpolation, border))
    if options.color_jitter_params is not None:
        steps.append(ColorJitter.from_params(options.color_jitter_params, kind))
    return tuple(steps)


def _edge_and_fraction(options: ImageOptions) -> tuple[int, float]:
    """Side of the images in pixels and side of the crop as a fraction, after all checks."""
    target, crop = options.image_target_size, options.image_crop_size
    edge, fraction = options.shortest_image_edge, options.crop_fraction
    if edge is None and target:
        edge = target[0]
    if fraction is None and target and crop:
        fraction = crop[0] / target[0]
    if edge is None or fraction is None:
        raise ConfigurationError(
            "the processor says neither shortest_image_edge and crop_fraction nor image_target_size and "
            "image_crop_size; give one pair"
        )
    if not options.use_albumentations and (target is None or crop is None):
        raise ConfigurationError(
            "the processor has use_albumentations: false, which needs image_target_size and image_crop_size; "
            "give them or turn it on"
        )
    if not 0 < fraction <= 1 or edge < 1:
        raise ConfigurationError(
            f"crop_fraction {fraction} must be above 0 and at most 1, and shortest_image_edge {edge} above 0"
        )
    if options.extra_augmentation_config and not options.use_albumentations:
        raise ConfigurationError(
            "extra_augmentation_config needs use_albumentations: true; turn it on or omit extra_augmentation_config"
        )
    return int(edge), float(fraction)
