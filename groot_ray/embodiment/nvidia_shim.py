"""Runs a modality configuration file with stand-ins for the names of ``gr00t`` that such files import.

This is a program, started by `nvidia.read_modality_configs` in a process of its own; it imports the standard library only.
"""

import enum
import importlib.util
import json
import sys
import traceback
import types
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


class ActionRepresentation(enum.Enum):
    RELATIVE = "relative"
    DELTA = "delta"
    ABSOLUTE = "absolute"


class ActionType(enum.Enum):
    EEF = "eef"
    NON_EEF = "non_eef"


class ActionFormat(enum.Enum):
    DEFAULT = "default"
    XYZ_ROT6D = "xyz+rot6d"
    XYZ_ROTVEC = "xyz+rotvec"


@dataclass
class ActionConfig:
    """How an action component is represented."""

    rep: ActionRepresentation
    type: ActionType
    format: ActionFormat
    state_key: str | None = None


@dataclass
class ModalityConfig:
    """Which keys of a modality are used, at which frames."""

    delta_indices: list
    modality_keys: list
    sin_cos_embedding_keys: list | None = None
    mean_std_embedding_keys: list | None = None
    action_configs: list | None = None

    def __post_init__(self):
        if self.action_configs is None:
            return
        if len(self.action_configs) != len(self.modality_keys):
            raise ValueError(f"{len(self.modality_keys)} modality_keys but {len(self.action_configs)} action_configs")
        self.action_configs = [_action_config(entry) for entry in self.action_configs]


def _action_config(entry):
    """An ActionConfig, also from a mapping with enum names."""
    if isinstance(entry, ActionConfig):
        return entry
    return ActionConfig(
        rep=_member(ActionRepresentation, entry["rep"]),
        type=_member(ActionType, entry["type"]),
        format=_member(ActionFormat, entry["format"]),
        state_key=entry.get("state_key"),
    )


def _member(kind, given):
    return given if isinstance(given, kind) else kind[given]


def run(file, tags, built_in):
    """Run the file; return the registered configurations by tag name, as plain data."""
    EmbodimentTag = _enum("EmbodimentTag", tags)
    registry = {}

    def register_modality_config(config, embodiment_tag=EmbodimentTag.NEW_EMBODIMENT):
        tag = _tag_name(embodiment_tag)
        if tag in built_in:
            raise ValueError(
                f"the tag {tag} has a built-in configuration and cannot be registered again; use NEW_EMBODIMENT"
            )
        if tag in registry:
            raise ValueError(f"the tag {tag} is registered twice")
        registry[tag] = {name: _plain(entry) for name, entry in config.items()}

    def _tag_name(given):
        if isinstance(given, EmbodimentTag):
            return given.name
        known = {member.value: member.name for member in EmbodimentTag} | {
            member.name: member.name for member in EmbodimentTag
        }
        if given not in known:
            raise ValueError(f"there is no embodiment tag {given!r}; use NEW_EMBODIMENT for a robot of your own")
        return known[given]

    kinds = (ActionRepresentation, ActionType, ActionFormat, ActionConfig, ModalityConfig)
    module("gr00t.data.embodiment_tags", {"EmbodimentTag": EmbodimentTag})
    module("gr00t.data.types", {kind.__name__: kind for kind in kinds})
    module(
        "gr00t.configs.data.embodiment_configs",
        {"register_modality_config": register_modality_config, "MODALITY_CONFIGS": registry},
    )

    sys.path.insert(0, str(Path(file).parent))
    spec: Any = importlib.util.spec_from_file_location(Path(file).stem, file)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return registry


def _enum(name, members) -> Any:
    return enum.Enum(name, members)


def _plain(entry):
    """A ModalityConfig (or a mapping in its form) as JSON data, enums by name."""
    if isinstance(entry, dict):
        entry = ModalityConfig(**entry)
    if not isinstance(entry, ModalityConfig):
        raise TypeError(f"expected a ModalityConfig, found {type(entry).__name__}")
    data = asdict(entry)
    data["delta_indices"] = [int(delta) for delta in data["delta_indices"]]
    data["modality_keys"] = [str(key) for key in data["modality_keys"]]
    if data["action_configs"] is not None:
        data["action_configs"] = [
            {name: value.name if isinstance(value, enum.Enum) else value for name, value in config.items()}
            for config in data["action_configs"]
        ]
    return data


def module(name, content):
    """Put a module with this content, and its parents, where ``import`` finds them."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        path = ".".join(parts[:depth])
        if path not in sys.modules:
            sys.modules[path] = types.ModuleType(path)
            sys.modules[path].__path__ = []
            if depth > 1:
                setattr(sys.modules[".".join(parts[: depth - 1])], parts[depth - 1], sys.modules[path])
    vars(sys.modules[name]).update(content)


def sentence(error, file):
    """The error with the line of the user's file where it came up."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    place = f" (line {lines[-1]})" if lines else f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
    if isinstance(error, ImportError) and str(getattr(error, "name", "") or "").startswith("gr00t"):
        return (
            f"{error}{place}; only gr00t's embodiment tags, modality types and register_modality_config are known here"
        )
    text = error.msg if isinstance(error, SyntaxError) else error
    return f"{type(error).__name__}: {text}{place}"


def main(arguments):
    try:
        answer = {"registered": run(arguments["file"], arguments["tags"], set(arguments["built_in"]))}
        text = json.dumps(answer)
    except SystemExit as error:
        text = json.dumps({"error": f"it exits ({error})"})
    except BaseException as error:
        text = json.dumps({"error": sentence(error, arguments["file"])})
    Path(arguments["answer"]).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
