"""Runs a modality configuration file with stand-ins for the names of ``gr00t`` that such files import.

`nvidia.read_modality_configs` starts this program in a separate process; it imports only the standard library.
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
    """The keys of a modality and the frames at which they are used."""

    delta_indices: list[int]
    modality_keys: list[str]
    sin_cos_embedding_keys: list[str] | None = None
    mean_std_embedding_keys: list[str] | None = None
    action_configs: list[Any] | None = None

    def __post_init__(self) -> None:
        if self.action_configs is None:
            return
        if len(self.action_configs) != len(self.modality_keys):
            raise ValueError(f"{len(self.modality_keys)} modality_keys but {len(self.action_configs)} action_configs")
        self.action_configs = [_action_config(entry) for entry in self.action_configs]


def _action_config(entry: Any) -> ActionConfig:
    """Convert an ActionConfig, or a mapping with enum names, to an ActionConfig."""
    if isinstance(entry, ActionConfig):
        return entry
    return ActionConfig(
        rep=_member(ActionRepresentation, entry["rep"]),
        type=_member(ActionType, entry["type"]),
        format=_member(ActionFormat, entry["format"]),
        state_key=entry.get("state_key"),
    )


def _member(kind: Any, given: Any) -> Any:
    return given if isinstance(given, kind) else kind[given]


def run(file: str, tags: dict[str, str], built_in: set[str]) -> dict[str, Any]:
    """Run the file; return the registered configurations by tag name, as plain data."""
    EmbodimentTag = _enum("EmbodimentTag", tags)
    registry: dict[str, Any] = {}

    def register_modality_config(config: Any, embodiment_tag: Any = EmbodimentTag.NEW_EMBODIMENT) -> None:
        tag = _tag_name(embodiment_tag)
        if tag in built_in:
            raise ValueError(
                f"the tag {tag} has a built-in configuration and cannot be registered again; use NEW_EMBODIMENT"
            )
        if tag in registry:
            raise ValueError(f"the tag {tag} is registered twice")
        registry[tag] = {name: _plain(entry) for name, entry in config.items()}

    def _tag_name(given: Any) -> str:
        if isinstance(given, EmbodimentTag):
            return str(given.name)
        known = {member.value: member.name for member in EmbodimentTag} | {
            member.name: member.name for member in EmbodimentTag
        }
        if given not in known:
            raise ValueError(f"there is no embodiment tag {given!r}; use NEW_EMBODIMENT for your own robot")
        return str(known[given])

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


def _enum(name: str, members: dict[str, str]) -> Any:
    return enum.Enum(name, members)


def _plain(entry: Any) -> dict[str, Any]:
    """A ModalityConfig (or an equivalent mapping) as JSON data, with enums by name."""
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


def module(name: str, content: dict[str, Any]) -> None:
    """Register a module with this content, and its parents, for ``import``."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        path = ".".join(parts[:depth])
        if path not in sys.modules:
            sys.modules[path] = types.ModuleType(path)
            sys.modules[path].__path__ = []
            if depth > 1:
                setattr(sys.modules[".".join(parts[: depth - 1])], parts[depth - 1], sys.modules[path])
    vars(sys.modules[name]).update(content)


def sentence(error: BaseException, file: str) -> str:
    """The error with the line of the user's file where it was raised."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    place = f" (line {lines[-1]})" if lines else f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
    if isinstance(error, ImportError) and str(getattr(error, "name", "") or "").startswith("gr00t"):
        return (
            f"{error}{place}; only gr00t's embodiment tags, modality types and register_modality_config are known here"
        )
    text = error.msg if isinstance(error, SyntaxError) else error
    return f"{type(error).__name__}: {text}{place}"


def main(arguments: dict[str, Any]) -> None:
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
