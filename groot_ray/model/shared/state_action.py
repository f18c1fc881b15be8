"""State and action of one embodiment tag: which steps lead from raw values by key to the model's arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.model.shared.modality import POSE_DIMS, ActionConfig, ModalityConfig, ModalityConfigs
from groot_ray.model.shared.normalization import Scaling, SinCos, mean_std, min_max
from groot_ray.model.shared.signal_transforms import Check, Concatenate, KeyCheck, Reference, Scale, ToRelative
from groot_ray.model.shared.transform import Compose, Values


@dataclass(frozen=True)
class Switches:
    """What a checkpoint's processor does with state and action.

    Attributes:
        use_percentiles: scale by the 1st and 99th percentile instead of min and max; relative actions always by min and
            max.
        clip_outliers: keep scaled values within [-1, 1], except states scaled by mean and deviation.
        sin_cos_states: replace the configuration's sin_cos_embedding_keys by sines and cosines.
        relative_actions: convert RELATIVE actions; else they are taken as absolute.
    """

    use_percentiles: bool = False
    clip_outliers: bool = True
    sin_cos_states: bool = True
    relative_actions: bool = True


@dataclass(frozen=True)
class StateKey:
    """One state key and its scaling."""

    key: str
    scaling: Scaling


@dataclass(frozen=True)
class ActionKey:
    """One action key and its scaling; `reference` is the state key that it is relative to, None for absolute values."""

    key: str
    scaling: Scaling
    reference: str | None
    is_pose: bool


class StateActionTransform:
    """The steps that turn a tag's raw state and action into the model's, made once from configuration and statistics.

    Args:
        name: the tag, for errors.
        configs: the tag's modality configuration.
        statistics: ``{state|action: {key: {min, max, mean, std, q01, q99: [D]}}, relative_action: {key: {...: [H,
            D]}}}``.

    Attributes:
        state: checked raw state to the model's, float32 [Ts, state_dim].
        action: raw absolute action to the model's, float32 [H, action_dim]; its inverse goes back.

    Raises:
        ConfigurationError, DataError: statistics and configuration do not fit each other.
    """

    def __init__(
        self,
        name: str,
        configs: ModalityConfigs,
        statistics: Mapping[str, Any],
        switches: Switches | None = None,
    ) -> None:
        self.name = name
        self.switches = switches or Switches()
        self.state_frames = len(configs["state"].delta_indices)
        self.action_horizon = len(configs["action"].delta_indices)
        self.state_keys = self._build_states(configs["state"], statistics)
        self.action_keys = self._build_actions(configs["action"], statistics)
        self.state_dim = sum(k.scaling.encoded_dims for k in self.state_keys)
        self.action_dim = sum(k.scaling.dims for k in self.action_keys)
        self.state_checks = tuple(self._check("state", k.key, self.state_frames, k.scaling) for k in self.state_keys)
        self.state = self._state_steps()
        self.action = self._action_steps()

    def _build_states(self, config: ModalityConfig, statistics: Mapping[str, Any]) -> list[StateKey]:
        keys = []
        for key in config.modality_keys:
            where = f"state {key!r} of tag {self.name}"
            entry = self._entry(statistics, "state", key, where)
            scaling: Scaling = min_max(entry, where, self.switches.use_percentiles, self.switches.clip_outliers)
            if self.switches.sin_cos_states and key in (config.sin_cos_embedding_keys or ()):
                scaling = SinCos(scaling.dims)
            elif key in (config.mean_std_embedding_keys or ()):
                scaling = mean_std(entry, where)
            keys.append(StateKey(key, scaling))
        return keys

    def _build_actions(self, config: ModalityConfig, statistics: Mapping[str, Any]) -> list[ActionKey]:
        keys, clip = [], self.switches.clip_outliers
        for key in config.modality_keys:
            action = config.action_config(key)
            is_relative = action.rep == "RELATIVE" and self.switches.relative_actions
            part = "relative_action" if is_relative else "action"
            where = f"{part} {key!r} of tag {self.name}"
            entry = self._entry(statistics, part, key, where)
            scaling: Scaling
            if key in (config.mean_std_embedding_keys or ()):
                scaling = mean_std(entry, where, clip)
            else:
                scaling = min_max(entry, where, self.switches.use_percentiles and not is_relative, clip)
            if is_relative:
                self._check_relative(key, action, scaling, entry)
            keys.append(
                ActionKey(key, scaling, (action.state_key or key) if is_relative else None, action.type == "EEF")
            )
        return keys

    def _entry(self, statistics: Mapping[str, Any], part: str, key: str, where: str) -> Mapping[str, Any]:
        entry = statistics.get(part, {}).get(key)
        if not isinstance(entry, Mapping):
            raise DataError(
                f"there are no statistics of {where}; make them with `groot-ray stats` for the modality configuration "
                "in use"
            )
        return entry

    def _check_relative(self, key: str, action: ActionConfig, scaling: Scaling, entry: Mapping[str, Any]) -> None:
        steps = np.shape(entry["min"])
        if len(steps) == 2 and steps[0] != self.action_horizon:
            raise DataError(
                f"the statistics of relative_action {key!r} of tag {self.name} are for {steps[0]} steps but its "
                "action horizon is "
                f"{self.action_horizon}; regenerate them with `groot-ray stats`"
            )
        reference = next(s for s in self.state_keys if s.key == (action.state_key or key))
        if reference.scaling.dims != scaling.dims:
            raise ConfigurationError(
                f"action {key!r} of tag {self.name} has {scaling.dims} dims but state {reference.key!r}, which it is "
                "RELATIVE to, has "
                f"{reference.scaling.dims}; name another state_key or say ABSOLUTE"
            )
        if action.type == "EEF" and scaling.dims != POSE_DIMS[action.format]:
            raise ConfigurationError(
                f"action {key!r} of tag {self.name} is a pose in format {action.format}, which has "
                f"{POSE_DIMS[action.format]} dims, not {scaling.dims}"
            )

    def _check(self, part: str, key: str, frames: int, scaling: Scaling) -> KeyCheck:
        return KeyCheck(self.name, part, key, frames, scaling.dims)

    def _state_steps(self) -> Compose:
        keys = tuple(k.key for k in self.state_keys)
        widths = tuple(k.scaling.encoded_dims for k in self.state_keys)
        return Compose((Scale(tuple((k.key, k.scaling) for k in self.state_keys)), Concatenate(keys, widths)))

    def _action_steps(self) -> Compose:
        states = {check.key: check for check in self.state_checks}
        references = [Reference(k.key, states[k.reference], k.is_pose) for k in self.action_keys if k.reference]
        return Compose(
            (
                Check(tuple(self._check("action", k.key, self.action_horizon, k.scaling) for k in self.action_keys)),
                ToRelative(tuple(references)),
                Scale(tuple((k.key, k.scaling) for k in self.action_keys)),
                Concatenate(tuple(k.key for k in self.action_keys), tuple(k.scaling.dims for k in self.action_keys)),
            )
        )

    def check_state(self, state: Values) -> dict[str, np.ndarray]:
        """The raw state as float arrays [..., Ts, D] by key, in order.

        Raises:
            DataError: a key is missing, has the wrong shape or is not finite.
        """
        return {check.key: check(state) for check in self.state_checks}
