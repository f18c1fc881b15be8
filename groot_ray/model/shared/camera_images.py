"""The camera images of a sample, checked and in the order in which a model sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from groot_ray.errors import DataError
from groot_ray.model.shared.modality import ModalityConfig


@dataclass(frozen=True)
class CameraImages:
    """The images of all cameras of the first frame, then of the next.

    `keys` are the cameras in order, `frames` their number of frames.
    """

    keys: tuple[str, ...]
    frames: int

    @classmethod
    def of(cls, video: ModalityConfig) -> CameraImages:
        """The cameras and frames of a video modality."""
        return cls(video.modality_keys, len(video.delta_indices))

    def __call__(self, images: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """uint8 [frames, H, W, 3] by camera to a list of [H, W, 3].

        Raises:
            DataError: a camera is missing, or its images have another dtype or shape.
        """
        cameras = [self._checked(images, key) for key in self.keys]
        return [camera[frame] for frame in range(self.frames) for camera in cameras]

    def _checked(self, images: Mapping[str, np.ndarray], key: str) -> np.ndarray:
        if key not in images:
            known = ", ".join(map(repr, images)) or "none"
            raise DataError(
                f"camera {key!r} is missing; there are {known}. Check the video keys of the modality configuration"
            )
        array = np.asarray(images[key])
        if (
            array.dtype != np.uint8
            or array.ndim != 4
            or array.shape[0] != self.frames
            or array.shape[3] != 3
            or not array.size
        ):
            raise DataError(
                f"images of camera {key!r} are {array.dtype} {list(array.shape)} instead of uint8 [{self.frames}, "
                "height, width, 3] (RGB)"
            )
        return array


@dataclass(frozen=True)
class CameraMasks:
    """The masks of all cameras in the order of `CameraImages`."""

    keys: tuple[str, ...]
    frames: int

    @classmethod
    def of(cls, video: ModalityConfig) -> CameraMasks:
        """The cameras and frames of a video modality."""
        return cls(video.modality_keys, len(video.delta_indices))

    def __call__(self, masks: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Integer [frames, H, W] by camera to a list of [H, W]."""
        return [masks[key][frame] for frame in range(self.frames) for key in self.keys]
