"""Selects the frames of a training sample, as pure functions (GR00T N1.6 behavior).

A sample is a start step and, for each modality, the frames step + delta. The last steps of an episode have no complete
action chunk: `drop` skips these steps, as in the reference; `mask` keeps them, repeats the last action and marks the
repeated steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from groot_ray.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np

Tail = Literal["drop", "mask"]


def effective_length(length: int, modality_configs: Mapping[str, Any], tail: Tail = "drop") -> int:
    """Number of start steps of `length` frames: ``max(0, length - (last - first action delta))``; all with `mask`."""
    if tail == "mask":
        return length
    deltas = action_deltas(modality_configs)
    return max(0, length - (max(deltas) - min(deltas)))


def action_deltas(modality_configs: Mapping[str, Any]) -> list[int]:
    """The action chunk's frames relative to the start step.

    Raises:
        ConfigurationError: the configuration has no action, or an empty one.
    """
    deltas = (modality_configs.get("action") or {}).get("delta_indices")
    if not deltas:
        raise ConfigurationError("the modality configuration has no action delta_indices")
    return [int(delta) for delta in deltas]


def frame_indices(step: int, deltas: Sequence[int], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames of a modality at a step.

    Returns:
        int64 [n] frames, clamped to the episode; bool [n], True if the frame
        was inside.
    """
    import numpy as np

    wanted = step + np.asarray(deltas, dtype=np.int64)
    return np.clip(wanted, 0, length - 1), (wanted >= 0) & (wanted < length)
