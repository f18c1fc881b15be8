"""Read NVIDIA's modality configuration files: Python modules that call ``register_modality_config``.

A user's module runs in a separate process, where small stand-ins replace the few names of ``gr00t`` that such files
import. Only the registered configurations come back, as plain data, checked.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from groot_ray.errors import ConfigurationError
from groot_ray.json_file import read_json_object
from groot_ray.model.family import default_modality_configs, known_tags
from groot_ray.model.shared.modality import modality_configs_json, parse_modality_configs
from groot_ray.model.shared.tags import resolve_tag

TIMEOUT = 60.0  # seconds; such a module only builds a dictionary


def read_modality_configs(path: str | Path) -> dict[str, dict[str, Any]]:
    """Run a modality configuration file and return what it registers.

    Returns:
        By tag name (such as ``NEW_EMBODIMENT``), in the order of registration: ``{video|state|action|language:
        {delta_indices, modality_keys, sin_cos_embedding_keys, mean_std_embedding_keys, action_configs}}``.

    Raises:
        ConfigurationError: the file is missing, fails (the message has its error), registers nothing, registers a tag
            twice or a built-in one, or registers something that is not a modality configuration.
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
            f"modality configuration {str(path)!r} registers nothing; "
            "it has to call register_modality_config(config, tag)"
        )
    return {tag: _checked(config, f"tag {tag} in {str(path)!r}") for tag, config in registered.items()}


def read_modality_config(path: str | Path, tag: str | None = None) -> tuple[str, dict[str, Any]]:
    """The configuration of `tag` (or the only one) from a file, with its tag.

    Raises:
        ConfigurationError: as for `read_modality_configs`; or the file does not register `tag`, or no tag is given and
            it registers several.
    """
    registered = read_modality_configs(path)
    if tag is None:
        if len(registered) > 1:
            raise ConfigurationError(
                f"modality configuration {str(path)!r} registers {', '.join(registered)}; "
                "name one with --embodiment-tag"
            )
        return next(iter(registered.items()))
    name = resolve_tag(tag, known_tags())
    if name not in registered:
        raise ConfigurationError(
            f"modality configuration {str(path)!r} registers {', '.join(registered)}, not {name}; "
            "correct --embodiment-tag or the file"
        )
    return name, registered[name]


def _run(file: Path) -> dict[str, Any]:
    """Run the file with the stand-ins. Its output goes to our standard error, its answer comes through a file."""
    tags = {name: tag.value for name, tag in known_tags().items()}
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
        return read_json_object(answer)


def _checked(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Validate a configuration and return it in full form."""
    return modality_configs_json(parse_modality_configs(config, where))
