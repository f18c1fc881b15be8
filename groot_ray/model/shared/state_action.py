"""State and action of one embodiment tag: raw values of each key to the model's vectors, and the model's vectors back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.model.shared.modality import POSE_DIMS, ActionConfig, ModalityConfig, ModalityConfigs
from groot_ray.model.shared.normalization import Scaling, SinCos, mean_std, min_max
from groot_ray.model.shared.rotation import absolute_pose, relative_pose

Values = Mapping[str, np.ndarray]


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
    """Everything that turns a tag's raw state and action into the model's, made once from configuration and statistics.

    Args:
        name: the tag, for errors.
        configs: the tag's modality configuration.
        statistics: ``{state|action: {key: {min, max, mean, std, q01, q99: [D]}}, relative_action: {key: {...: [H, D]}}}``.
        use_percentiles: scale by the 1st and 99th percentile in place of min and max (relative actions always by min and max).
        clip_outliers: keep scaled values within [-1, 1] (states scaled by mean and deviation excepted).
        sin_cos_states: replace the configuration's sin_cos_embedding_keys by sines and cosines.
        relative_actions: convert RELATIVE actions; else they are taken as absolute.

    Raises:
        ConfigurationError, DataError: statistics and configuration do not fit each other.
    """

    def __init__(
        self,
        name: str,
        configs: ModalityConfigs,
        statistics: Mapping[str, Any],
        *,
        use_percentiles: bool = False,
        clip_outliers: bool = True,
        sin_cos_states: bool = True,
        relative_actions: bool = True,
    ) -> None:
        self.name = name
        self._percentiles = use_percentiles
        self._clip = clip_outliers
        self.state_frames = len(configs["state"].delta_indices)
        self.action_horizon = len(configs["action"].delta_indices)
        self.state_keys = self._build_states(configs["state"], statistics, sin_cos_states)
        self.action_keys = self._build_actions(configs["action"], statistics, relative_actions)
        self.state_dim = sum(k.scaling.encoded_dims for k in self.state_keys)
        self.action_dim = sum(k.scaling.dims for k in self.action_keys)

    # Building

    def _build_states(self, config: ModalityConfig, statistics: Mapping[str, Any], sin_cos: bool) -> list[StateKey]:
        keys = []
        for key in config.modality_keys:
            where = f"state {key!r} of tag {self.name}"
            entry = self._entry(statistics, "state", key, where)
            scaling: Scaling = min_max(entry, where, self._percentiles, self._clip)
            if sin_cos and key in (config.sin_cos_embedding_keys or ()):
                scaling = SinCos(scaling.dims)
            elif key in (config.mean_std_embedding_keys or ()):
                scaling = mean_std(entry, where)
            keys.append(StateKey(key, scaling))
        return keys

    def _build_actions(
        self, config: ModalityConfig, statistics: Mapping[str, Any], relative_actions: bool
    ) -> list[ActionKey]:
        keys = []
        for key in config.modality_keys:
            action = config.action_config(key)
            is_relative = action.rep == "RELATIVE" and relative_actions
            part = "relative_action" if is_relative else "action"
            where = f"{part} {key!r} of tag {self.name}"
            entry = self._entry(statistics, part, key, where)
            scaling: Scaling
            if key in (config.mean_std_embedding_keys or ()):
                scaling = mean_std(entry, where, self._clip)
            else:
                scaling = min_max(entry, where, self._percentiles and not is_relative, self._clip)
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
                f"there are no statistics of {where}; make them with `groot-ray stats` for the modality configuration in use"
            )
        return entry

    def _check_relative(self, key: str, action: ActionConfig, scaling: Scaling, entry: Mapping[str, Any]) -> None:
        steps = np.shape(entry["min"])
        if len(steps) == 2 and steps[0] != self.action_horizon:
            raise DataError(
                f"the statistics of relative_action {key!r} of tag {self.name} are for {steps[0]} steps but its action horizon is "
                f"{self.action_horizon}; make them anew with `groot-ray stats`"
            )
        reference = next(s for s in self.state_keys if s.key == (action.state_key or key))
        if reference.scaling.dims != scaling.dims:
            raise ConfigurationError(
                f"action {key!r} of tag {self.name} has {scaling.dims} dims but state {reference.key!r}, which it is RELATIVE to, has "
                f"{reference.scaling.dims}; name another state_key or say ABSOLUTE"
            )
        if action.type == "EEF" and scaling.dims != POSE_DIMS[action.format]:
            raise ConfigurationError(
                f"action {key!r} of tag {self.name} is a pose in format {action.format}, which has {POSE_DIMS[action.format]} dims, not {scaling.dims}"
            )

    # Using

    def check_state(self, state: Values) -> dict[str, np.ndarray]:
        """The raw state as float arrays [..., Ts, D] by key, in order; errors name the key that is missing, too wide or not finite."""
        return {k.key: self._checked(state, "state", k.key, self.state_frames, k.scaling.dims) for k in self.state_keys}

    def encode_state(self, state: Values) -> np.ndarray:
        """The model's state float32 [Ts, state_dim] of raw values [Ts, D] by key, as `check_state` returns them."""
        parts = [k.scaling.encode(state[k.key]) for k in self.state_keys]
        return np.concatenate(parts, axis=-1, dtype=np.float32)

    def encode_action(self, action: Values, state: Values) -> np.ndarray:
        """The model's action float32 [H, action_dim] of raw absolute actions [H, D] by key and the checked raw state [Ts, D].

        RELATIVE keys refer to the last state frame.
        """
        parts = []
        for k in self.action_keys:
            values = self._checked(action, "action", k.key, self.action_horizon, k.scaling.dims)
            if k.reference is not None:
                reference = state[k.reference][-1]
                values = relative_pose(values, reference) if k.is_pose else values.astype(np.float64) - reference
            parts.append(k.scaling.encode(values))
        return np.concatenate(parts, axis=-1, dtype=np.float32)

    def decode_action(self, action: np.ndarray, states: Values | None) -> dict[str, np.ndarray]:
        """Raw absolute actions float32 [..., H, D] by key of the model's action [..., >=H, >=action_dim].

        `states` holds raw states [..., Ts, D] by key; it is needed when a key is RELATIVE.
        """
        decoded: dict[str, np.ndarray] = {}
        start = 0
        for k in self.action_keys:
            end = start + k.scaling.dims
            values = k.scaling.decode(action[..., : self.action_horizon, start:end])
            if k.reference is not None:
                if states is None:
                    raise DataError(
                        f"action {k.key!r} of tag {self.name} is RELATIVE, so decoding it needs the raw state {k.reference!r}"
                    )
                state_key = next(s for s in self.state_keys if s.key == k.reference)
                raw = self._checked(states, "state", k.reference, self.state_frames, state_key.scaling.dims)
                reference = raw[..., -1, :]
                values = absolute_pose(values, reference) if k.is_pose else values + reference[..., None, :]
            decoded[k.key] = values.astype(np.float32)
            start = end
        return decoded

    def _checked(self, values: Values, part: str, key: str, frames: int, dims: int) -> np.ndarray:
        if key not in values:
            raise DataError(f"{part} {key!r} of tag {self.name} is missing; there are {_listed(values)}")
        array = np.asarray(values[key])
        if array.dtype.kind != "f":
            array = array.astype(np.float32)
        if array.ndim < 2 or array.shape[-2:] != (frames, dims):
            raise DataError(
                f"{part} {key!r} of tag {self.name} has the shape {list(array.shape)} instead of [{frames}, {dims}] (frames, dims)"
            )
        if not np.isfinite(array).all():
            bad = np.unique(np.argwhere(~np.isfinite(array))[:, -1])
            raise DataError(
                f"{part} {key!r} of tag {self.name} is not finite (NaN or infinite) in dims {', '.join(map(str, bad))}; "
                "repair the recording or leave the episode out"
            )
        return array


def _listed(values: Values | Sequence[str]) -> str:
    return ", ".join(repr(key) for key in values) or "none"
