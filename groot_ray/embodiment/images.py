"""Size and fit of each camera's training images, which checkpoints record in `images.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from groot_ray.embodiment.components import Fit
from groot_ray.embodiment.schema import Embodiment
from groot_ray.errors import DataError
from groot_ray.json_file import read_json_object

IMAGES = "images.json"
FORMAT = 1
FITS: tuple[Fit | None, ...] = ("crop", "letterbox", "stretch", None)


@dataclass(frozen=True)
class CameraImage:
    """Images of one camera in training.

    Attributes:
        height, width: size in pixels.
        fit: how a camera frame was fitted to that size; None if the dataset does not record it.
    """

    height: int
    width: int
    fit: Fit | None


def camera_images(
    video: Mapping[str, str], features: Mapping[str, Any], embodiment: Embodiment | None
) -> dict[str, CameraImage]:
    """Size and fit of each camera of a converted dataset.

    Args:
        video: name of the video feature by camera key, from ``meta/modality.json``.
        features: ``features`` of ``meta/info.json``, whose video features have a shape [height, width, channels].
        embodiment: the dataset's description of the robot, which has each camera's fit.

    Returns:
        Image sizes and fits by camera key, without cameras whose size the dataset does not state.
    """
    fits: dict[str, Fit] = {c.key: c.fit for c in embodiment.cameras} if embodiment is not None else {}
    images = {}
    for key, feature in video.items():
        size = _size(features.get(feature))
        if size is not None:
            images[key] = CameraImage(*size, fits.get(key))
    return images


def _size(feature: Any) -> tuple[int, int] | None:
    """Height and width of a video feature, whose axes may be in another order."""
    if not isinstance(feature, Mapping):
        return None
    shape, names = feature.get("shape"), feature.get("names")
    if not isinstance(shape, list) or len(shape) != 3 or not all(isinstance(n, int) and n > 0 for n in shape):
        return None
    axes = names if isinstance(names, list) and {"height", "width"} <= set(names) else ["height", "width", "channel"]
    return shape[axes.index("height")], shape[axes.index("width")]


def write_images(folder: Path, images: Mapping[str, CameraImage]) -> None:
    """Write ``images.json`` into a checkpoint folder."""
    content = {"format": FORMAT, "cameras": {key: asdict(image) for key, image in images.items()}}
    (folder / IMAGES).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_images(folder: Path) -> dict[str, CameraImage] | None:
    """Read ``images.json`` of a checkpoint folder; None if there is none, as in checkpoints of earlier versions.

    Raises:
        DataError: the file is broken.
    """
    file = folder / IMAGES
    if not file.is_file():
        return None
    cameras = read_json_object(file, "copy the checkpoint again").get("cameras")
    if not isinstance(cameras, dict):
        raise DataError(f"{file} has no 'cameras'; copy the checkpoint again")
    return {key: _camera_image(file, key, entry) for key, entry in cameras.items()}


def _camera_image(file: Path, key: str, entry: Any) -> CameraImage:
    values = entry if isinstance(entry, dict) else {}
    height, width, fit = values.get("height"), values.get("width"), values.get("fit")
    if not isinstance(height, int) or not isinstance(width, int) or fit not in FITS:
        raise DataError(f"{file}: camera {key!r} is {entry!r}, not a height, width and fit; copy the checkpoint again")
    return CameraImage(height, width, cast("Fit | None", fit))
