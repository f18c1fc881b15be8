"""A live robot's state and camera frames as a policy's observation, treated exactly as conversion treated the training data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from groot_ray.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import numpy as np

    from groot_ray.embodiment.schema import Embodiment


def observation(
    embodiment: Embodiment,
    state: np.ndarray | Mapping[str, np.ndarray],
    frames: Mapping[str, np.ndarray],
    instruction: str,
    size: int = 256,
) -> dict[str, Any]:
    """Build the nested observation of one moment (batch 1, one frame).

    Args:
        state: the robot's state column, float [W], or several columns by name.
        frames: one uint8 RGB picture [H, W, 3] per camera, by camera key or by source name.
        instruction: what the robot is to do.
        size: edge of the square pictures of the converted dataset, in pixels.

    Returns:
        ``{"video": {key: uint8 [1, 1, size, size, 3]}, "state": {key: float32 [1, 1, D]}, "language": {key: [[instruction]]}}``
        with the trained state components.

    Raises:
        DataError: a camera or column is missing or has the wrong shape.
    """
    return {
        "video": {
            camera.key: _frame(frames, camera.key, camera.source, camera.fit, size) for camera in embodiment.cameras
        },
        "state": state_components(embodiment, state),
        "language": {embodiment.language.key: [[instruction]]},
    }


def state_components(embodiment: Embodiment, state: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Trained state components of one moment, each float32 [1, 1, D], from the robot's column float [W] or columns by name."""
    import numpy as np

    columns = [c.column for c in embodiment.state if c.column is not None]
    if not isinstance(state, Mapping):
        if len(set(columns)) > 1:
            raise DataError(
                f"embodiment {embodiment.name!r} reads several state columns ({', '.join(sorted(set(columns)))}); give them by name"
            )
        state = {columns[0]: state} if columns else {}
    vector = embodiment.map_state(
        {name: np.atleast_1d(np.asarray(values))[None] for name, values in state.items()}, where="live state"
    )
    if len(vector) == 0:
        vector = np.zeros((1, embodiment.state_dim), dtype=np.float32)
    parts: dict[str, np.ndarray] = {}
    at = 0
    for component in embodiment.state:
        if component.train:
            parts[component.key] = np.ascontiguousarray(vector[None, :, at : at + component.dims])
        at += component.dims
    return parts


def _frame(frames: Mapping[str, np.ndarray], key: str, source: str, fit: Any, size: int) -> np.ndarray:
    import numpy as np

    from groot_ray.video.transform import fit_frame

    name = next((name for name in (key, source, source.removeprefix("observation.images.")) if name in frames), None)
    if name is None:
        raise DataError(f"camera {key!r} (source {source!r}) is missing from the frames{did_you_mean(key, frames)}")
    picture = np.asarray(frames[name])
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise DataError(
            f"camera {key!r} gave {picture.dtype} {list(picture.shape)}; an RGB picture is uint8 [height, width, 3]"
        )
    return fit_frame(picture, size, fit)[None, None]
