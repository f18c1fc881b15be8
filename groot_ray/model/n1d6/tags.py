"""The embodiment tags of GR00T N1.6, and its own modality configurations of them.

The ids in a checkpoint's ``embodiment_id.json`` take precedence over these.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from groot_ray.model.shared.tags import EmbodimentTag

_IDS = {
    "oxe_google": 0,
    "oxe_widowx": 1,
    "libero_panda": 2,
    "unitree_g1": 8,
    "new_embodiment": 10,
    "robocasa_panda_omron": 13,
    "oxe_droid": 16,
    "gr1": 20,
    "behavior_r1_pro": 24,
}

EMBODIMENT_TAGS: dict[str, EmbodimentTag] = {
    value.upper(): EmbodimentTag(value.upper(), value, number) for value, number in _IDS.items()
}


def default_modality_configs(text: str) -> dict[str, dict[str, Any]] | None:
    """GR00T N1.6's own modality configuration of a tag as plain data.

    None if only a checkpoint or the user can provide one.
    """
    spec = _DEFAULTS.get(text.strip().lower().replace("-", "_"))
    return None if spec is None else spec.modality_configs()


@dataclass(frozen=True)
class _Default:
    """A tag's cameras, state and action keys in short form; `relative` maps an action key to the state it refers to."""

    video: Sequence[str]
    state: Sequence[str]
    action: Sequence[str]
    horizon: int
    language: str
    relative: dict[str, str] | None = None
    mean_std: Sequence[str] = ()

    def modality_configs(self) -> dict[str, dict[str, Any]]:
        actions = None
        if self.relative is not None:
            actions = [self._action_config(key) for key in self.action]
        return {
            "video": _config([0], self.video),
            "state": _config([0], self.state),
            "action": _config(range(self.horizon), self.action, self.mean_std, actions),
            "language": _config([0], [self.language]),
        }

    def _action_config(self, key: str) -> dict[str, Any]:
        assert self.relative is not None
        state_key = self.relative.get(key)
        return {
            "rep": "RELATIVE" if key in self.relative else "ABSOLUTE",
            "type": "NON_EEF",
            "format": "DEFAULT",
            "state_key": None if state_key == key else state_key,
        }


def _config(
    deltas: Iterable[int],
    keys: Sequence[str],
    mean_std: Sequence[str] = (),
    action_configs: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    return {
        "delta_indices": list(deltas),
        "modality_keys": list(keys),
        "sin_cos_embedding_keys": None,
        "mean_std_embedding_keys": list(mean_std) or None,
        "action_configs": action_configs,
    }


_POSE = ["x", "y", "z", "roll", "pitch", "yaw"]

_DEFAULTS = {
    "unitree_g1": _Default(
        video=["ego_view"],
        state=["left_leg", "right_leg", "waist", "left_arm", "right_arm", "left_hand", "right_hand"],
        action=["left_arm", "right_arm", "left_hand", "right_hand", "waist", "base_height_command", "navigate_command"],
        horizon=30,
        language="annotation.human.task_description",
        relative={"left_arm": "left_arm", "right_arm": "right_arm"},
    ),
    "libero_panda": _Default(
        video=["image", "wrist_image"],
        state=[*_POSE, "gripper"],
        action=[*_POSE, "gripper"],
        horizon=16,
        language="annotation.human.action.task_description",
    ),
    "oxe_widowx": _Default(
        video=["image_0"],
        state=[*_POSE, "pad", "gripper"],
        action=[*_POSE, "gripper"],
        horizon=8,
        language="annotation.human.action.task_description",
        mean_std=_POSE,
    ),
    "oxe_google": _Default(
        video=["image"],
        state=["x", "y", "z", "rx", "ry", "rz", "rw", "gripper"],
        action=[*_POSE, "gripper"],
        horizon=8,
        language="annotation.human.action.task_description",
        mean_std=_POSE,
    ),
    "behavior_r1_pro": _Default(
        video=[f"observation.images.rgb.{camera}_256_256" for camera in ("head", "left_wrist", "right_wrist")],
        state=(
            "robot_pos robot_ori_cos robot_ori_sin robot_2d_ori robot_2d_ori_cos robot_2d_ori_sin robot_lin_vel "
            "robot_ang_vel "
            "arm_left_qpos arm_left_qpos_sin arm_left_qpos_cos eef_left_pos eef_left_quat gripper_left_qpos "
            "arm_right_qpos arm_right_qpos_sin arm_right_qpos_cos eef_right_pos eef_right_quat gripper_right_qpos "
            "trunk_qpos"
        ).split(),
        action=["base", "torso", "left_arm", "left_gripper", "right_arm", "right_gripper"],
        horizon=32,
        language="annotation.human.coarse_action",
        relative={"torso": "trunk_qpos", "left_arm": "arm_left_qpos", "right_arm": "arm_right_qpos"},
    ),
    "oxe_droid": _Default(
        video=["exterior_image_1_left", "wrist_image_left"],
        state=["joint_position", "gripper_position"],
        action=["joint_position", "gripper_position"],
        horizon=32,
        language="annotation.language.language_instruction",
        relative={"joint_position": "joint_position"},
    ),
}
