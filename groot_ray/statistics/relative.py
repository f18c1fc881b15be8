"""Action chunks relative to the state, as in the model's input.

For every frame i of an episode from which all action steps lie within it, i = 0 .. length - 1 - last action delta,
the chunk is ``action[i + deltas]`` and its reference ``state[i + last state delta]``. Joint actions are differences;
end-effector poses are rigid transforms relative to the reference pose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from groot_ray.errors import ConfigurationError

ROWS = 1024  # chunks held at once: a block for two arms fits the CPU cache


@dataclass(frozen=True)
class RelativeAction:
    """One RELATIVE action key: the state that it refers to, whether it is an end-effector pose, and its steps."""

    key: str
    state_key: str
    pose: bool
    deltas: tuple[int, ...]
    reference: int

    def blocks(self, action: np.ndarray, state: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the relative chunks of an episode as columns, float32 [H * D, n] with n <= ROWS, column h * D + d.

        Args:
            action: float32 [D, T] of this key, each dimension contiguous.
            state: float32 [Ds, T] of the state key.
        """
        total = action.shape[1] - max(self.deltas)
        for start in range(0, total, ROWS):
            count = min(ROWS, total - start)
            reference = state[:, start + self.reference : start + self.reference + count]
            steps = [action[:, start + delta : start + delta + count] for delta in self.deltas]
            block = relative_poses(steps, reference) if self.pose else np.stack([step - reference for step in steps])
            yield block.reshape(-1, count)


def relative_poses(steps: Sequence[np.ndarray], reference: np.ndarray) -> np.ndarray:
    """Poses of H steps, each float32 [D, n], relative to the reference poses [Ds, n]: float32 [H, D, n]."""
    from groot_ray.model.shared.rotation import relative_pose

    chunks = np.stack(steps).transpose(2, 0, 1)
    return np.ascontiguousarray(relative_pose(chunks, reference.T).transpose(1, 2, 0), np.float32)


def relative_actions(modality_configs: Mapping[str, Any]) -> list[RelativeAction]:
    """The RELATIVE keys of a modality configuration (plain data in the form of NVIDIA's processor_config.json).

    Raises:
        ConfigurationError: the action's first step is not the state's last.
    """
    action, state = modality_configs.get("action") or {}, modality_configs.get("state") or {}
    deltas = tuple(int(delta) for delta in action.get("delta_indices") or ())
    found = []
    for key, config in zip(action.get("modality_keys") or (), action.get("action_configs") or (), strict=False):
        if _name(config, "rep") != "RELATIVE":
            continue
        reference = int((state.get("delta_indices") or [0])[-1])
        if not deltas or deltas[0] != reference or reference < 0:
            raise ConfigurationError(
                f"action {key!r} is RELATIVE, so the first of its delta_indices must be the last of the state's "
                f"({reference}), not {deltas[0] if deltas else 'missing'}"
            )
        found.append(
            RelativeAction(key, config.get("state_key") or key, _name(config, "type") == "EEF", deltas, reference)
        )
    return found


def _name(config: Mapping[str, Any], field: str) -> str:
    """Normalized name of an enum-like value: NVIDIA's files use either case."""
    return str(config.get(field)).upper()
