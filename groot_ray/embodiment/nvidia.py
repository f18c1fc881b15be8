"""NVIDIA's modality configuration files in and out: python modules that call ``register_modality_config``.

A user's module is run in a process of its own, where small stand-ins answer for the few names of ``gr00t`` that such files import.
Nothing of it reaches this process but the registered configurations as plain data, checked.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ray.embodiment.schema import MAX_HORIZON
from groot_ray.errors import ConfigurationError

if TYPE_CHECKING:
    from groot_ray.embodiment.schema import Embodiment

MODALITIES = ("video", "state", "action", "language")
TIMEOUT = 60.0  # seconds; such a module only builds a dictionary


def read_modality_configs(path: str | Path) -> dict[str, dict[str, Any]]:
    """Run a modality configuration file and return what it registers.

    Returns:
        By tag name (such as ``NEW_EMBODIMENT``), in the order of registration: ``{video|state|action|language: {delta_indices,
        modality_keys, sin_cos_embedding_keys, mean_std_embedding_keys, action_configs}}`` as plain data.

    Raises:
        ConfigurationError: the file is missing, fails (its own error is told), registers nothing, a tag twice or one whose
            configuration is built in, or registers something that is no modality configuration.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigurationError(f"modality configuration {str(path)!r} does not exist")
    answer = _run(file)
    if "error" in answer:
        raise ConfigurationError(f"modality configuration {str(path)!r} fails: {answer['error']}")
    registered: dict[str, dict[str, Any]] = answer["registered"]
    if not registered:
        raise ConfigurationError(
            f"modality configuration {str(path)!r} registers nothing; it has to call register_modality_config(config, tag)"
        )
    return {tag: _checked(config, f"tag {tag} in {str(path)!r}") for tag, config in registered.items()}


def read_modality_config(path: str | Path, tag: str | None = None) -> tuple[str, dict[str, Any]]:
    """The configuration of `tag` (or the only one) from a file, with its tag.

    Raises:
        ConfigurationError: as `read_modality_configs`; or the file does not register `tag`, or several and none was named.
    """
    from groot_ray.model.shared.tags import resolve_tag

    registered = read_modality_configs(path)
    if tag is None:
        if len(registered) > 1:
            raise ConfigurationError(
                f"modality configuration {str(path)!r} registers {', '.join(registered)}; name one with --embodiment-tag"
            )
        return next(iter(registered.items()))
    name = resolve_tag(tag)
    if name not in registered:
        raise ConfigurationError(
            f"modality configuration {str(path)!r} registers {', '.join(registered)}, not {name}; correct --embodiment-tag or the file"
        )
    return name, registered[name]


def _run(file: Path) -> dict[str, Any]:
    """Run the file with the stand-ins; its prints go to our standard error, its answer through a file."""
    from groot_ray.model.shared.tags import EMBODIMENT_TAGS, default_modality_configs

    tags = {name: tag.value for name, tag in EMBODIMENT_TAGS.items()}
    built_in = [name for name in tags if default_modality_configs(name) is not None]
    with (
        tempfile.TemporaryDirectory(prefix="groot-ray-") as folder,
        as_file(files("groot_ray.embodiment") / "nvidia_shim.py") as shim,
    ):
        answer = Path(folder) / "answer.json"
        arguments = json.dumps({"file": str(file.resolve()), "answer": str(answer), "tags": tags, "built_in": built_in})
        try:
            done = subprocess.run([sys.executable, "-P", str(shim), arguments], stdout=2, timeout=TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            return {"error": f"it did not end within {TIMEOUT:.0f} s"}
        if not answer.is_file():
            return {"error": f"it ended its process with code {done.returncode}"}
        content: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return content


def _checked(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The configuration in full form, after the checks that every configuration goes through."""
    from groot_ray.model.shared.modality import modality_configs_json, parse_modality_configs

    checked = modality_configs_json(parse_modality_configs(config, where))
    horizon = len(checked["action"]["delta_indices"])
    if horizon > MAX_HORIZON:
        raise ConfigurationError(
            f"the action of {where} has {horizon} delta_indices; the model predicts {MAX_HORIZON} at most"
        )
    return checked


def write_modality_config(embodiment: Embodiment) -> str:
    """The python source of a modality configuration file for NVIDIA's launcher."""
    configs = embodiment.modality_configs()
    lines = [
        f'"""Modality configuration of {embodiment.name} for GR00T N1.6."""',
        "",
        "from gr00t.configs.data.embodiment_configs import register_modality_config",
        "from gr00t.data.embodiment_tags import EmbodimentTag",
        "from gr00t.data.types import ActionConfig, ActionFormat, ActionRepresentation, ActionType, ModalityConfig",
        "",
        "config = {",
    ]
    for name in MODALITIES:
        lines.extend(_source(name, configs[name]))
    lines.extend(["}", "", f"register_modality_config(config, embodiment_tag=EmbodimentTag.{embodiment.tag})", ""])
    return "\n".join(lines)


def _source(name: str, config: Mapping[str, Any]) -> list[str]:
    deltas = list(config["delta_indices"])
    span = f"list(range({len(deltas)}))" if len(deltas) > 1 and deltas == list(range(len(deltas))) else repr(deltas)
    lines = [f"    {json.dumps(name)}: ModalityConfig(", f"        delta_indices={span},"]
    lines.append(f"        modality_keys={json.dumps(config['modality_keys'])},")
    for option in ("sin_cos_embedding_keys", "mean_std_embedding_keys"):
        if config[option]:
            lines.append(f"        {option}={json.dumps(config[option])},")
    if config["action_configs"] is not None:
        lines.append("        action_configs=[")
        for entry in config["action_configs"]:
            reference = f", state_key={json.dumps(entry['state_key'])}" if entry["state_key"] else ""
            lines.append(
                f"            ActionConfig(rep=ActionRepresentation.{entry['rep']}, type=ActionType.{entry['type']}, "
                f"format=ActionFormat.{entry['format']}{reference}),"
            )
        lines.append("        ],")
    return [*lines, "    ),"]
