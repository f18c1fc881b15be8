"""What a checkpoint has to beat: holding the current pose, which needs no model.

The other baseline, the untrained model, is a policy with the weights before finetuning; see `evaluate.record`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from groot_ray.evaluate.layout import ActionLayout

HOLD = (
    "hold the current pose: position components repeat the state at the frame of inference where the state has the "
    "same dimensions, else the last action before that frame; velocities and deltas are zero"
)


def hold_pose(
    layout: ActionLayout,
    action_configs: Sequence[Mapping[str, Any]] | None,
    state: Mapping[str, np.ndarray],
    truth: np.ndarray,
    starts: Sequence[int],
    horizon: int,
) -> np.ndarray:
    """Predict that the robot does not move.

    For each frame of inference s, the frames s .. s + horizon - 1 get the same action. Per component:

    - kind ``position``, where the component's state key (its own name by default) has as many dimensions: the state
      at s, whether the action is RELATIVE (a difference of zero) or ABSOLUTE;
    - kind ``position`` without such a state: the recorded action at s - 1, the robot's last command; zeros at s = 0;
    - kind ``velocity`` or ``delta``: zeros, since a robot that holds its pose does not move.

    Args:
        layout: columns of the actions.
        action_configs: the checkpoint's action configurations, one per key; None if states have the actions' names.
        state: recorded state by key, each float [n or more, width].
        truth: recorded actions, float [n, D].
        starts: frames of inference, ascending, the first 0.
        horizon: number of frames for which a prediction is used.

    Returns:
        float32 [n, D].
    """
    import numpy as np

    held = np.zeros_like(truth, dtype=np.float32)
    for place, key in enumerate(layout.keys):
        columns = layout.columns(key)
        if layout.kinds[columns[0]] != "position":
            continue
        config = action_configs[place] if action_configs else {}
        now = state.get(config.get("state_key") or key)
        for start in starts:
            frames = slice(start, start + horizon)
            if now is not None and now.shape[1] == len(columns):
                held[frames, columns[0] : columns[-1] + 1] = now[start]
            elif start > 0:
                held[frames, columns[0] : columns[-1] + 1] = truth[start - 1, columns]
    return held
