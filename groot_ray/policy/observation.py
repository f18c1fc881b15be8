"""Checks a policy's observation, in the nested form of GR00T N1.6's inference interface.

``{"video": {key: uint8 [B, T, H, W, 3]}, "state": {key: float32 [B, T, D]}, "language": {key: B lists of one text}}``,
where T is the modality's number of frames. Keys that the checkpoint does not use are ignored, so a robot may send all
it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from groot_ray.errors import DataError, did_you_mean
from groot_ray.model.shared.modality import ModalityConfigs

FORM = {
    "video": "uint8 [batch, frames, height, width, 3]",
    "state": "float32 [batch, frames, dims]",
    "language": "a list with one list of one text per sample",
}


def split_observation(observation: Mapping[str, Any], configs: ModalityConfigs, tag: str) -> list[dict[str, Any]]:
    """Check a batch of observations and cut it into samples.

    Args:
        observation: the nested form above; B is read from the first camera.
        configs: the tag's modality configuration.
        tag: embodiment tag, for errors and for the samples.

    Returns:
        B samples ``{"images": {key: uint8 [T, H, W, 3]}, "state": {key: float32 [T, D]}, "action": None,
        "language": str, "tag": tag}``.

    Raises:
        DataError: a modality or key is missing, or has the wrong type or shape.
    """
    if not isinstance(observation, Mapping):
        raise DataError(f"an observation is a map of video, state and language, not {type(observation).__name__}")
    video = _modality(observation, configs, "video", tag)
    state = _modality(observation, configs, "state", tag)
    language = _modality(observation, configs, "language", tag)
    frames = {name: len(configs[name].delta_indices) for name in ("video", "state")}
    batch: int | None = None
    for key, images in video.items():
        batch = _check_images(key, images, batch, frames["video"])
    assert batch is not None  # a modality configuration has at least one camera
    for key, values in state.items():
        _check_state(key, values, batch, frames["state"])
    (texts,) = (_texts(key, value, batch) for key, value in language.items())
    return [
        {
            "images": {key: images[i] for key, images in video.items()},
            "state": {key: values[i] for key, values in state.items()},
            "action": None,
            "language": texts[i],
            "tag": tag,
        }
        for i in range(batch)
    ]


def _modality(observation: Mapping[str, Any], configs: ModalityConfigs, name: str, tag: str) -> dict[str, Any]:
    """The values of a modality's keys, in the configuration's order."""
    keys = configs[name].modality_keys
    given = observation.get(name)
    if not isinstance(given, Mapping):
        what = "is missing" if given is None else f"is {type(given).__name__}, not a map"
        raise DataError(
            f"{name!r} {what} in the observation; tag {tag} needs {{{', '.join(map(repr, keys))}}}, each {FORM[name]}"
        )
    for key in keys:
        if key not in given:
            have = ", ".join(repr(str(k)) for k in given) or "nothing"
            raise DataError(f"the observation has no {name} {key!r}{did_you_mean(key, map(str, given))}; it has {have}")
    return {key: given[key] for key in keys}


def _check_images(key: str, images: Any, batch: int | None, frames: int) -> int:
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 5 or images.shape[-1] != 3:
        raise DataError(f"video {key!r} is {_describe(images)}; it must be {FORM['video']}, RGB")
    if 0 in images.shape:
        raise DataError(f"video {key!r} is empty: {_describe(images)}")
    _check_counts(f"video {key!r}", images, len(images) if batch is None else batch, frames)
    return len(images)


def _check_state(key: str, values: Any, batch: int, frames: int) -> None:
    if not isinstance(values, np.ndarray) or values.dtype != np.float32 or values.ndim != 3:
        raise DataError(f"state {key!r} is {_describe(values)}; it must be {FORM['state']}")
    _check_counts(f"state {key!r}", values, batch, frames)


def _check_counts(what: str, array: np.ndarray, batch: int, frames: int) -> None:
    if len(array) != batch:
        raise DataError(f"{what} has {len(array)} samples, but the first camera has {batch}")
    if array.shape[1] != frames:
        raise DataError(f"{what} has {array.shape[1]} frames per sample, but the checkpoint takes {frames}")


def _texts(key: str, value: Any, batch: int) -> list[str]:
    samples = list(value) if isinstance(value, list | tuple) else None
    if samples is None or not all(
        isinstance(s, list | tuple) and len(s) == 1 and isinstance(s[0], str) for s in samples
    ):
        raise DataError(f"language {key!r} must be {FORM['language']}, such as [['pick up the cube']]")
    if len(samples) != batch:
        raise DataError(f"language {key!r} has {len(samples)} samples, but the first camera has {batch}")
    return [sample[0] for sample in samples]


def _describe(value: Any) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
