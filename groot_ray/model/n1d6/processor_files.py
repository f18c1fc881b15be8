"""The three files of a GR00T N1.6 processor, in NVIDIA's form and with nothing of ours in them.

``processor_config.json`` (settings and modality configurations), ``statistics.json`` and ``embodiment_id.json``; N1.6
specification B.6, D.3.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groot_ray.errors import ConfigurationError
from groot_ray.json_file import read_json_object

log = logging.getLogger(__name__)

CONFIG, STATISTICS, IDS = "processor_config.json", "statistics.json", "embodiment_id.json"

# In the order of the reference's file, with the values of its constructor for those that a file lacks.
DEFAULTS: dict[str, Any] = {
    "image_crop_size": None,
    "image_target_size": None,
    "use_albumentations": False,
    "random_rotation_angle": None,
    "color_jitter_params": None,
    "shortest_image_edge": 512,
    "crop_fraction": 0.95,
    "model_name": "nvidia/Eagle-Block2A-2B-v2",
    "model_type": "eagle",
    "formalize_language": True,
    "max_state_dim": 29,
    "max_action_dim": 29,
    "max_action_horizon": 40,
    "use_percentiles": False,
    "clip_outliers": True,
    "apply_sincos_state_encoding": False,
    "use_relative_action": False,
}
# Where NVIDIA's public checkpoint differs from its constructor.
PUBLIC: dict[str, Any] = {
    "use_albumentations": True,
    "shortest_image_edge": 256,
    "max_state_dim": 128,
    "max_action_dim": 128,
    "max_action_horizon": 50,
    "apply_sincos_state_encoding": True,
    "use_relative_action": True,
}
# Later releases of the reference save this key; images are letterboxed where it is absent.
LETTER_BOX = "letter_box_transform"


@dataclass(frozen=True)
class ProcessorFiles:
    """Content of the three files.

    Attributes:
        settings: ``processor_kwargs`` without ``modality_configs``.
        modality_configs: plain configurations by tag value.
        statistics: ``{tag value: {state|action|relative_action: {key: {min, max, mean, std, q01, q99}}}}``.
        ids: number of each tag's weights in the action head, by tag value.
    """

    settings: Mapping[str, Any]
    modality_configs: Mapping[str, Any]
    statistics: Mapping[str, Any]
    ids: Mapping[str, int]

    @classmethod
    def read(cls, directory: Path) -> ProcessorFiles:
        """Read them from a folder; ``embodiment_id.json`` may be missing.

        Raises:
            ConfigurationError: a file is missing or is not GR00T N1.6's.
        """
        kwargs = _read(directory, CONFIG).get("processor_kwargs")
        if not isinstance(kwargs, dict) or not isinstance(kwargs.get("modality_configs"), dict):
            raise ConfigurationError(
                f"{directory / CONFIG} is not a GR00T N1.6 processor: it has no processor_kwargs with "
                "modality_configs; "
                "fetch the checkpoint again"
            )
        settings = {key: value for key, value in kwargs.items() if key != "modality_configs"}
        unknown = [key for key in settings if key not in DEFAULTS and key != LETTER_BOX]
        if unknown:
            log.warning("%s has settings that are kept but not used: %s", directory / CONFIG, ", ".join(unknown))
        ids = _read(directory, IDS) if (directory / IDS).is_file() else {}
        return cls(settings, kwargs["modality_configs"], _read(directory, STATISTICS), ids)

    def write(self, directory: Path) -> None:
        """Write them as the reference does, byte for byte."""
        directory.mkdir(parents=True, exist_ok=True)
        kwargs = {"modality_configs": self.modality_configs, **self.settings}
        _write(directory / CONFIG, {"processor_class": "Gr00tN1d6Processor", "processor_kwargs": kwargs})
        _write(directory / STATISTICS, self.statistics)
        _write(directory / IDS, self.ids)


def _read(directory: Path, name: str) -> dict[str, Any]:
    if not (directory / name).is_file():
        raise ConfigurationError(
            f"{directory} is not a GR00T N1.6 checkpoint: it has no {name}; name a checkpoint's folder"
        )
    return read_json_object(directory / name, "fetch the checkpoint again", ConfigurationError)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
