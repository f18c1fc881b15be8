"""Modality configurations as the Python modules that NVIDIA's launcher takes, for tests that read them back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from groot_ray.embodiment.modality import modality_configs
from groot_ray.embodiment.schema import Embodiment


def write_modality_config(embodiment: Embodiment) -> str:
    """The python source of a modality configuration file for NVIDIA's launcher."""
    configs = modality_configs(embodiment)
    lines = [
        f'"""Modality configuration of {embodiment.name} for GR00T N1.6."""',
        "",
        "from gr00t.configs.data.embodiment_configs import register_modality_config",
        "from gr00t.data.embodiment_tags import EmbodimentTag",
        "from gr00t.data.types import ActionConfig, ActionFormat, ActionRepresentation, ActionType, ModalityConfig",
        "",
        "config = {",
    ]
    for name, config in configs.items():
        lines.extend(_source(name, config))
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
