"""The description in NVIDIA's formats: ``meta/modality.json`` and the modality configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from groot_ray.embodiment.components import Component
from groot_ray.embodiment.schema import Embodiment


def modality_json(embodiment: Embodiment) -> dict[str, Any]:
    """Slices of the converted ``observation.state`` and ``action`` columns, and the video features, by modality key."""
    content: dict[str, Any] = {
        "state": _slices(embodiment.state),
        "action": _slices(embodiment.action),
        "video": {c.key: {"original_key": c.feature} for c in embodiment.cameras},
    }
    if embodiment.language.key != "task":
        # The converted dataset holds the instruction's number in task_index, whichever column it came from.
        content["annotation"] = {embodiment.language.key.removeprefix("annotation."): {"original_key": "task_index"}}
    return content


def _slices(components: Sequence[Component]) -> dict[str, dict[str, int]]:
    slices: dict[str, dict[str, int]] = {}
    at = 0
    for component in components:
        slices[component.key] = {"start": at, "end": at + component.dims}
        at += component.dims
    return slices


def modality_configs(embodiment: Embodiment) -> dict[str, dict[str, Any]]:
    """Modality configuration of the trained keys as plain data: ``{video|state|action|language: {...}}``."""
    state = [c for c in embodiment.state if c.train]
    action = [c for c in embodiment.action if c.train]
    return {
        "video": _config([0], [c.key for c in embodiment.cameras]),
        "state": _config(
            [0],
            [c.key for c in state],
            sin_cos=[c.key for c in state if c.normalization == "sin_cos"],
            mean_std=[c.key for c in state if c.normalization == "mean_std"],
        ),
        "action": _config(
            list(range(embodiment.action_horizon)),
            [c.key for c in action],
            mean_std=[c.key for c in action if c.normalization == "mean_std"],
            action_configs=[
                {"rep": c.representation, "type": c.type, "format": c.format, "state_key": c.state_key} for c in action
            ],
        ),
        "language": _config([0], [embodiment.language.key]),
    }


def _config(
    deltas: list[int],
    keys: list[str],
    sin_cos: list[str] | None = None,
    mean_std: list[str] | None = None,
    action_configs: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    return {
        "delta_indices": deltas,
        "modality_keys": keys,
        "sin_cos_embedding_keys": sin_cos or None,
        "mean_std_embedding_keys": mean_std or None,
        "action_configs": action_configs,
    }
