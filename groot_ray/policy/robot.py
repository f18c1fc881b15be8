"""`RobotPolicy`: a policy from the robot's own state columns and camera frames to its own action columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from groot_ray.embodiment.components import Camera
from groot_ray.embodiment.images import CameraImage
from groot_ray.embodiment.mapping import map_columns, to_robot
from groot_ray.embodiment.schema import Embodiment
from groot_ray.errors import ConfigurationError, DataError, did_you_mean
from groot_ray.video.transform import fit_frame

if TYPE_CHECKING:
    from groot_ray.policy.policy import Policy, Seed

IMAGES_PREFIX = "observation.images."


class RobotPolicy:
    """A policy between a robot's own columns; `load_robot_policy` makes one.

    Live states are mapped and live frames treated exactly as conversion did with the training data.

    Attributes:
        policy: the policy in model dimensions.
        embodiment: the robot that the checkpoint was trained for.
        images: size and fit of each camera's training images, by camera key.
    """

    def __init__(self, policy: Policy, embodiment: Embodiment, images: Mapping[str, CameraImage]) -> None:
        """Combine a policy with a robot's description.

        Raises:
            ConfigurationError: the checkpoint's modality configuration is not this robot's.
        """
        check_modality(policy.modality, embodiment)
        self.policy = policy
        self.embodiment = embodiment
        self.images = dict(images)

    def get_action(
        self,
        state: np.ndarray | Mapping[str, np.ndarray],
        frames: Mapping[str, np.ndarray],
        instruction: str,
        *,
        seed: int | Sequence[Seed] | None = None,
    ) -> dict[str, np.ndarray]:
        """Predict the robot's next actions from one moment.

        Args:
            state: the robot's state column, float [W], or several columns by name, in the units of its dataset.
            frames: one RGB frame per camera, uint8 [height, width, 3], by camera key or source name.
            instruction: the task, as text.
            seed: fixes the noise; see `Policy.get_action`.

        Returns:
            The robot's action columns by name, each float32 [horizon, W], absolute and in the units of its dataset
            (radians, meters ...). Dimensions that the model does not predict are NaN, so that no robot executes
            them.

        Raises:
            DataError: a camera or column is missing or has the wrong shape.
        """
        actions, _ = self.policy.get_action(self.observe(state, frames, instruction), seed=seed)
        return to_robot(self.embodiment, {key: values[0] for key, values in actions.items()})

    def observe(
        self, state: np.ndarray | Mapping[str, np.ndarray], frames: Mapping[str, np.ndarray], instruction: str
    ) -> dict[str, Any]:
        """The observation of one moment in model form; arguments as for `get_action`."""
        return observation(self.embodiment, self.images, state, frames, instruction)

    def reset(self) -> None:
        """Start a new episode."""
        self.policy.reset()


def check_modality(modality: Mapping[str, Any], embodiment: Embodiment) -> None:
    """Check that a checkpoint's modality configuration names the robot's trained keys, one frame each.

    Raises:
        ConfigurationError: keys are missing or unknown, or the checkpoint observes several frames.
    """
    described = {
        "video": {camera.key for camera in embodiment.cameras},
        "state": {c.key for c in embodiment.components("state", trained=True)},
        "action": {c.key for c in embodiment.components("action", trained=True)},
        "language": {embodiment.language.key},
    }
    for name, keys in described.items():
        wanted = set(modality[name]["modality_keys"])
        if not wanted <= keys or (name == "action" and wanted != keys):
            raise ConfigurationError(
                f"the checkpoint's {name} keys are {', '.join(sorted(wanted))}, but embodiment {embodiment.name!r} has "
                f"{', '.join(sorted(keys))}; name the embodiment that the checkpoint was trained for"
            )
    for name in ("video", "state"):
        if len(modality[name]["delta_indices"]) != 1:
            raise ConfigurationError(
                f"the checkpoint observes {len(modality[name]['delta_indices'])} {name} frames at once; "
                "a robot's live observation has one, so use Policy with observations in model form"
            )


def observation(
    embodiment: Embodiment,
    images: Mapping[str, CameraImage],
    state: np.ndarray | Mapping[str, np.ndarray],
    frames: Mapping[str, np.ndarray],
    instruction: str,
) -> dict[str, Any]:
    """Build the observation of one moment (batch 1, one frame) in model form.

    Args:
        images: size and fit of the training images, by key of the cameras that the checkpoint uses.
        state: the robot's state column, float [W], or several columns by name.
        frames: one RGB frame per camera, uint8 [height, width, 3], by camera key or source name.
        instruction: the task, as text.

    Returns:
        ``{"video": {key: uint8 [1, 1, H, W, 3]}, "state": {key: float32 [1, 1, D]}, "language": {key:
        [[instruction]]}}`` with the trained state components.

    Raises:
        DataError: a camera or column is missing or has the wrong shape.
    """
    return {
        "video": {
            camera.key: camera_image(frames, camera, images[camera.key])[None, None]
            for camera in embodiment.cameras
            if camera.key in images
        },
        "state": state_components(embodiment, state),
        "language": {embodiment.language.key: [[instruction]]},
    }


def state_components(embodiment: Embodiment, state: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Trained state components of one moment, each float32 [1, 1, D].

    Args:
        state: the robot's state column, float [W], or several columns by name.

    Raises:
        DataError: a column is missing, has the wrong width or is not finite.
    """
    sources = sorted({c.column for c in embodiment.state if c.column is not None})
    if not isinstance(state, Mapping):
        if len(sources) > 1:
            raise DataError(
                f"embodiment {embodiment.name!r} reads several state columns ({', '.join(sources)}); give them by name"
            )
        state = {sources[0]: state} if sources else {}
    columns = {name: np.atleast_1d(np.asarray(values))[None] for name, values in state.items()}
    vector = map_columns(embodiment, "state", columns, where="live state")  # [1, state_dim]
    if len(vector) == 0:  # no source columns: constant zeros only
        vector = np.zeros((1, embodiment.state_dim), dtype=np.float32)
    parts: dict[str, np.ndarray] = {}
    at = 0
    for component in embodiment.state:
        if component.train:
            parts[component.key] = np.ascontiguousarray(vector[None, :, at : at + component.dims])
        at += component.dims
    return parts


def camera_image(frames: Mapping[str, np.ndarray], camera: Camera, image: CameraImage) -> np.ndarray:
    """A live frame, treated like the training frames.

    Args:
        frames: RGB frames, uint8 [height, width, 3], by camera key or source name.
        image: size and fit of the camera's training images.

    Returns:
        uint8 [image.height, image.width, 3].

    Raises:
        DataError: the frame is missing or is not RGB; or the fit is unknown and the frame has another size.
    """
    names = (camera.key, camera.source, camera.source.removeprefix(IMAGES_PREFIX))
    name = next((name for name in names if name in frames), None)
    if name is None:
        raise DataError(
            f"camera {camera.key!r} (source {camera.source!r}) is missing from the frames"
            f"{did_you_mean(camera.key, frames)}"
        )
    frame = np.asarray(frames[name])
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise DataError(
            f"camera {camera.key!r} gave {frame.dtype} {list(frame.shape)}; an RGB image is uint8 [height, width, 3]"
        )
    if frame.shape[:2] == (image.height, image.width):
        return np.ascontiguousarray(frame)
    if image.fit is None or image.height != image.width:
        raise DataError(
            f"camera {camera.key!r} gave {frame.shape[0]} x {frame.shape[1]} pixels; the checkpoint was trained on "
            f"{image.height} x {image.width} and does not record how frames are fitted; give frames of that size"
        )
    return fit_frame(frame, image.height, image.fit)
