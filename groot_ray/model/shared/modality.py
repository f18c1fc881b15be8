"""Modality configurations in NVIDIA's serialized form: which keys, which frames and which representation a tag is
trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from groot_ray.errors import ConfigurationError, did_you_mean

Representation = Literal["RELATIVE", "DELTA", "ABSOLUTE"]
ActionType = Literal["EEF", "NON_EEF"]
ActionFormat = Literal["DEFAULT", "XYZ_ROT6D", "XYZ_ROTVEC"]

REQUIRED_MODALITIES = ("video", "state", "action", "language")
POSE_DIMS = {"XYZ_ROT6D": 9, "XYZ_ROTVEC": 6}

_ACTION_CHOICES = {
    "rep": ("RELATIVE", "DELTA", "ABSOLUTE"),
    "type": ("EEF", "NON_EEF"),
    "format": ("DEFAULT", "XYZ_ROT6D", "XYZ_ROTVEC"),
}
_CONFIG_KEYS = (
    "delta_indices",
    "modality_keys",
    "sin_cos_embedding_keys",
    "mean_std_embedding_keys",
    "action_configs",
)


@dataclass(frozen=True)
class ActionConfig:
    """How the model sees one action key.

    RELATIVE actions are differences to the current state of `state_key` (the action's own key when None): plain
    differences for NON_EEF, rigid transforms for EEF poses in `format`. DELTA exists in the format and is treated
    as ABSOLUTE.
    """

    rep: Representation = "ABSOLUTE"
    type: ActionType = "NON_EEF"
    format: ActionFormat = "DEFAULT"
    state_key: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {"rep": self.rep, "type": self.type, "format": self.format, "state_key": self.state_key}


@dataclass(frozen=True)
class ModalityConfig:
    """Keys of one modality, in the order in which they are concatenated, and the frames (offsets from the current one)
    of each.

    `sin_cos_embedding_keys` and `mean_std_embedding_keys` name keys that are not normalized by min and max.
    """

    delta_indices: tuple[int, ...]
    modality_keys: tuple[str, ...]
    sin_cos_embedding_keys: tuple[str, ...] | None = None
    mean_std_embedding_keys: tuple[str, ...] | None = None
    action_configs: tuple[ActionConfig, ...] | None = None

    def action_config(self, key: str) -> ActionConfig:
        """The representation of one action key; ABSOLUTE where the configuration has none."""
        if self.action_configs is None:
            return ActionConfig()
        return self.action_configs[self.modality_keys.index(key)]

    def to_json(self) -> dict[str, Any]:
        return {
            "delta_indices": list(self.delta_indices),
            "modality_keys": list(self.modality_keys),
            "sin_cos_embedding_keys": _listed(self.sin_cos_embedding_keys),
            "mean_std_embedding_keys": _listed(self.mean_std_embedding_keys),
            "action_configs": None if self.action_configs is None else [a.to_json() for a in self.action_configs],
        }


ModalityConfigs = dict[str, ModalityConfig]
"""One tag's configuration by modality: video, state, action, language and, where masks augment images, mask."""


def parse_modality_configs(data: Mapping[str, Any], where: str) -> ModalityConfigs:
    """Read and check one tag's ``{video|state|action|language: {...}}``; already parsed values pass through.

    `where` names in errors what is being read, such as ``tag gr1 in CHECKPOINT/processor_config.json``.

    Raises:
        ConfigurationError: a modality or key is missing, unknown or contradictory.
    """
    for modality in REQUIRED_MODALITIES:
        if modality not in data:
            raise ConfigurationError(
                f"the modality configuration of {where} has no {modality!r}; it needs {', '.join(REQUIRED_MODALITIES)}"
            )
    configs: ModalityConfigs = {}
    for modality, config in data.items():
        if modality not in (*REQUIRED_MODALITIES, "mask"):
            raise ConfigurationError(
                f"the modality configuration of {where} has an unknown modality "
                f"{modality!r}{did_you_mean(modality, REQUIRED_MODALITIES)}"
            )
        configs[modality] = (
            config if isinstance(config, ModalityConfig) else _parse_config(config, f"{modality!r} of {where}")
        )
    _check_language(configs["language"], where)
    _check_actions(configs, where)
    return configs


def modality_configs_json(configs: Mapping[str, ModalityConfig]) -> dict[str, Any]:
    """One tag's configuration as plain JSON data, exactly as in ``processor_config.json``."""
    return {modality: config.to_json() for modality, config in configs.items()}


def _parse_config(data: Any, where: str) -> ModalityConfig:
    if not isinstance(data, Mapping):
        raise ConfigurationError(
            f"the configuration of {where} is {type(data).__name__}, not a map of {', '.join(_CONFIG_KEYS)}"
        )
    for key in data:
        if key not in _CONFIG_KEYS:
            raise ConfigurationError(
                f"the configuration of {where} has an unknown entry {key!r}{did_you_mean(str(key), _CONFIG_KEYS)}"
            )
    keys = _strings(data.get("modality_keys"), f"modality_keys of {where}")
    deltas = data.get("delta_indices")
    if not isinstance(deltas, Sequence) or not deltas or not all(type(d) is int for d in deltas):
        raise ConfigurationError(f"delta_indices of {where} must be a list of integers, not {deltas!r}")
    config = ModalityConfig(
        delta_indices=tuple(deltas),
        modality_keys=keys,
        sin_cos_embedding_keys=_optional_strings(
            data.get("sin_cos_embedding_keys"), keys, f"sin_cos_embedding_keys of {where}"
        ),
        mean_std_embedding_keys=_optional_strings(
            data.get("mean_std_embedding_keys"), keys, f"mean_std_embedding_keys of {where}"
        ),
        action_configs=_parse_actions(data.get("action_configs"), keys, where),
    )
    both = set(config.sin_cos_embedding_keys or ()) & set(config.mean_std_embedding_keys or ())
    if both:
        raise ConfigurationError(f"{where} asks for both sine/cosine and mean/std of {sorted(both)[0]!r}; keep one")
    return config


def _parse_actions(data: Any, keys: Sequence[str], where: str) -> tuple[ActionConfig, ...] | None:
    if data is None:
        return None
    if not isinstance(data, Sequence) or len(data) != len(keys):
        count = len(data) if isinstance(data, Sequence) else 0
        raise ConfigurationError(
            f"{where} has {count} action_configs for {len(keys)} modality_keys; it needs one for each, in their order"
        )
    return tuple(_parse_action(entry, f"{key!r} in {where}") for key, entry in zip(keys, data, strict=True))


def _parse_action(data: Any, where: str) -> ActionConfig:
    if isinstance(data, ActionConfig):
        return data
    if not isinstance(data, Mapping):
        raise ConfigurationError(
            f"the action_config of {where} is {type(data).__name__}, not a map of rep, type, format and state_key"
        )
    for key in data:
        if key not in (*_ACTION_CHOICES, "state_key"):
            raise ConfigurationError(
                f"the action_config of {where} has an unknown entry "
                f"{key!r}{did_you_mean(str(key), [*_ACTION_CHOICES, 'state_key'])}"
            )
    chosen = {}
    defaults = ActionConfig()
    for key, choices in _ACTION_CHOICES.items():
        chosen[key] = str(data.get(key, getattr(defaults, key))).upper()
        if chosen[key] not in choices:
            raise ConfigurationError(f"{key} {data[key]!r} of {where} is none of {', '.join(choices)}")
    state_key = data.get("state_key")
    if state_key is not None and not isinstance(state_key, str):
        raise ConfigurationError(f"state_key of {where} must be the name of a state key, not {state_key!r}")
    return ActionConfig(
        cast(Representation, chosen["rep"]),
        cast(ActionType, chosen["type"]),
        cast(ActionFormat, chosen["format"]),
        state_key,
    )


def _check_language(config: ModalityConfig, where: str) -> None:
    if len(config.modality_keys) != 1 or config.delta_indices != (0,):
        raise ConfigurationError(
            f"the language of {where} must be one key with delta_indices [0], not {list(config.modality_keys)} with "
            f"{list(config.delta_indices)}"
        )


def _check_actions(configs: ModalityConfigs, where: str) -> None:
    """A RELATIVE action needs a state to refer to, and an end-effector pose a format that says what its numbers are."""
    states = configs["state"].modality_keys
    for key in configs["action"].modality_keys:
        action = configs["action"].action_config(key)
        if action.rep != "RELATIVE":
            continue
        reference = action.state_key or key
        if reference not in states:
            raise ConfigurationError(
                f"action {key!r} of {where} is RELATIVE to state {reference!r}, which is not a state "
                f"key{did_you_mean(reference, states)}; "
                f"name one of {', '.join(states)} as its state_key, or say ABSOLUTE"
            )
        if action.type == "EEF" and action.format not in POSE_DIMS:
            raise ConfigurationError(
                f"action {key!r} of {where} is a RELATIVE end-effector pose without a format; say "
                f"{' or '.join(POSE_DIMS)}"
            )


def _strings(data: Any, where: str) -> tuple[str, ...]:
    if isinstance(data, str) or not isinstance(data, Sequence) or not data or not all(isinstance(k, str) for k in data):
        raise ConfigurationError(f"{where} must be a list of names, not {data!r}")
    if len(set(data)) != len(data):
        raise ConfigurationError(f"{where} names a key twice: {', '.join(data)}")
    return tuple(data)


def _optional_strings(data: Any, keys: Sequence[str], where: str) -> tuple[str, ...] | None:
    if data is None:
        return None
    names = _strings(data, where) if data else ()
    for name in names:
        if name not in keys:
            raise ConfigurationError(
                f"{where} names {name!r}, which is not among modality_keys{did_you_mean(name, keys)}"
            )
    return names


def _listed(values: tuple[str, ...] | None) -> list[str] | None:
    return None if values is None else list(values)
