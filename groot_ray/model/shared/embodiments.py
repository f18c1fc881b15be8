"""The embodiment tags of one checkpoint: their modality configurations, statistics and transforms, within the model's
limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.model.shared.modality import ModalityConfigs, modality_configs_json, parse_modality_configs
from groot_ray.model.shared.protocols import Limits
from groot_ray.model.shared.signal_transforms import Pad
from groot_ray.model.shared.state_action import StateActionTransform, Switches
from groot_ray.model.shared.tags import NEW_EMBODIMENT, resolve_tag, tag_value
from groot_ray.model.shared.transform import Chain, Compose, Signal, Values


@dataclass(frozen=True)
class TagTransforms:
    """One tag's way from raw state and action to the model's padded arrays, and back.

    Attributes:
        unpadded: widths, horizon and checks of the tag.
        state: checked raw state [Ts, D] by key to float32 [Ts, limits.state_dim].
        action: raw absolute action [H, D] by key to float32 [limits.action_horizon, limits.action_dim].
    """

    unpadded: StateActionTransform
    limits: Limits
    state: Compose
    action: Compose

    @classmethod
    def within(cls, limits: Limits, unpadded: StateActionTransform) -> TagTransforms:
        """The transforms with padding to the model's widths."""
        state = Pad(unpadded.state_frames, unpadded.state_dim, unpadded.state_frames, limits.state_dim)
        action = Pad(unpadded.action_horizon, unpadded.action_dim, limits.action_horizon, limits.action_dim)
        return cls(unpadded, limits, Compose((unpadded.state, state)), Compose((unpadded.action, action)))

    @property
    def to_robot(self) -> Chain:
        """The model's actions to the robot's: the inverse of `action`."""
        return self.action.inverse

    def action_mask(self, valid: Any = None) -> np.ndarray:
        """1 where an action value counts in the loss, float32 [limits.action_horizon, limits.action_dim].

        `valid` bool [H] excludes the steps that are False.
        """
        rows, columns = self.unpadded.action_horizon, self.unpadded.action_dim
        mask = np.zeros((self.limits.action_horizon, self.limits.action_dim), dtype=np.float32)
        mask[:rows, :columns] = 1 if valid is None else np.asarray(valid, dtype=np.float32)[:, None]
        return mask

    def decode(self, action: np.ndarray, states: Values | None) -> dict[str, np.ndarray]:
        """Absolute actions float32 [B, H, D] by key, from the model's [B, limits.action_horizon, limits.action_dim].

        `states` are the raw states [B, Ts, D] by key that RELATIVE actions start from.

        Raises:
            DataError: a state that is needed is missing or has the wrong shape.
        """
        return dict(self.to_robot(Signal(action, states)).by_key)


class Embodiments:
    """What a checkpoint knows about each tag.

    Attributes:
        modality_configs: plain configurations by tag value, as in the file.
        statistics: ``{tag value: {state|action|relative_action: {key: {...}}}}``.
        ids: number of each tag's weights, by tag value; also the tags that exist.
    """

    def __init__(
        self,
        modality_configs: Mapping[str, Any],
        statistics: Mapping[str, Any],
        ids: Mapping[str, int],
        limits: Limits,
        switches: Switches,
    ) -> None:
        self.modality_configs = dict(modality_configs)
        self.statistics = dict(statistics)
        self.ids = dict(ids)
        self.limits = limits
        self.switches = switches
        self._configs: dict[str, ModalityConfigs] = {}
        self._transforms: dict[str, TagTransforms] = {}

    @property
    def tags(self) -> list[str]:
        """NAMES of the tags that can be used: those with a modality configuration and statistics."""
        return [value.upper() for value in self.modality_configs if value in self.statistics]

    def id_of(self, tag: str) -> int:
        """The number of a tag's weights."""
        return self.ids[tag_value(tag, self.ids)]

    def configs(self, tag: str) -> ModalityConfigs:
        """The checked modality configuration of a tag, by name or value."""
        if tag not in self._configs:
            value = self._usable(tag)
            self._configs[tag] = parse_modality_configs(self.modality_configs[value], f"tag {value.upper()}")
        return self._configs[tag]

    def transforms(self, tag: str) -> TagTransforms:
        """The transforms of a tag, by name or value.

        Raises:
            ConfigurationError: the tag is unknown, lacks a configuration or statistics, or exceeds the limits.
            DataError: its statistics do not fit its configuration.
        """
        if tag not in self._transforms:
            value = self._usable(tag)
            made = self._checked(value.upper(), self.configs(tag), self.statistics[value])
            self._transforms[tag] = TagTransforms.within(self.limits, made)
        return self._transforms[tag]

    def dims(self, tag: str) -> tuple[int, int, int]:
        """State dims (sines and cosines counted), action dims and action horizon of a tag."""
        made = self.transforms(tag).unpadded
        return made.state_dim, made.action_dim, made.action_horizon

    def set(self, tag: str, modality_configs: Mapping[str, Any], statistics: Mapping[str, Any]) -> str:
        """Use a dataset's modality configuration and statistics for a tag, instead of those that the checkpoint may
        have.

        Args:
            tag: name or value.
            modality_configs: ``{video|state|action|language: ...}`` in NVIDIA's form.
            statistics: ``{state|action: {key: ...}, relative_action: {key: ...}}``.

        Returns:
            A sentence for the log that says what was replaced.

        Raises:
            ConfigurationError, DataError: the tag is unknown, configuration and statistics do not fit each other, or
                they exceed the model's limits. Nothing is replaced then.
        """
        value = tag_value(tag, self.ids)
        name = value.upper()
        configs = parse_modality_configs(modality_configs, f"tag {name}")
        plain = _plain_statistics(statistics)
        made = self._checked(name, configs, plain)
        before = self._summary(value) if value in self.modality_configs else None
        self.modality_configs[value] = modality_configs_json(configs)
        self.statistics[value] = plain
        self._configs.clear()
        self._transforms.clear()
        now = _sizes(made)
        slot = f"weights of embodiment {self.ids[value]}"
        if before is None:
            return (
                f"tag {name} ({slot}) is new to the base model; it takes the dataset's modality configuration and "
                f"statistics: {now}"
            )
        return (
            f"tag {name} ({slot}) is known to the base model ({before}); the dataset's modality configuration, dims "
            "and "
            f"statistics replace it: {now}"
        )

    def _usable(self, tag: str) -> str:
        value = resolve_tag(tag, [*self.modality_configs, *self.ids]).lower()
        for part, known in (("modality configuration", self.modality_configs), ("statistics", self.statistics)):
            if value not in known:
                raise ConfigurationError(
                    f"the checkpoint has no {part} of tag {value.upper()}; it has {', '.join(self.tags) or 'none'}: "
                    f"name one of them, or finetune with a dataset (tag {NEW_EMBODIMENT} for a robot of your own)"
                )
        return value

    def _checked(self, name: str, configs: ModalityConfigs, statistics: Mapping[str, Any]) -> StateActionTransform:
        made = StateActionTransform(name, configs, statistics, self.switches)
        for what, has, limit in (
            ("state has {} dims", made.state_dim, self.limits.state_dim),
            ("action has {} dims", made.action_dim, self.limits.action_dim),
            ("action horizon is {} steps", made.action_horizon, self.limits.action_horizon),
        ):
            if has > limit:
                raise ConfigurationError(
                    f"the {what.format(has)} for tag {name}, but the model takes at most {limit}; "
                    "train fewer keys or a shorter horizon"
                )
        return made

    def _summary(self, value: str) -> str:
        try:
            return _sizes(self.transforms(value).unpadded)
        except (ConfigurationError, DataError):
            return "with a configuration that cannot be read here"


def _sizes(made: StateActionTransform) -> str:
    state = ", ".join(k.key for k in made.state_keys)
    action = ", ".join(k.key + (" relative" if k.reference is not None else "") for k in made.action_keys)
    return (
        f"{made.state_dim} state dims ({state}), {made.action_dim} action dims ({action}), "
        f"horizon {made.action_horizon}"
    )


def _plain_statistics(statistics: Mapping[str, Any]) -> dict[str, Any]:
    """Statistics as plain JSON data, whatever kind of arrays they came in; only the parts that the reference knows."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(entry) for key, entry in value.items()}
        return np.asarray(value, dtype=np.float64).tolist()

    return {part: plain(statistics[part]) for part in ("state", "action", "relative_action") if part in statistics}
