"""Statistics of modality keys, cut from those of whole columns, for the model's processor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from groot_ray.dataset.groot import layout
from groot_ray.dataset.groot.modality import Slice
from groot_ray.dataset.groot.samples import action_deltas
from groot_ray.errors import DataError

if TYPE_CHECKING:
    from groot_ray.dataset.groot.dataset import GrootDataset

STATISTICS = ("min", "max", "mean", "std", "q01", "q99")


def relative_keys(modality_configs: Mapping[str, Any]) -> list[str]:
    """Action keys whose representation is RELATIVE, in order."""
    action = modality_configs.get("action") or {}
    configs = action.get("action_configs") or []
    keys = action.get("modality_keys") or []
    return [key for key, config in zip(keys, configs, strict=False) if config.get("rep") == "RELATIVE"]


def key_statistics(
    dataset: GrootDataset, modality_configs: Mapping[str, Any]
) -> dict[str, dict[str, dict[str, list[Any]]]]:
    """Statistics of the configuration's keys; see `GrootDataset.statistics`."""
    content: dict[str, dict[str, dict[str, list[Any]]]] = {"state": {}, "action": {}, "relative_action": {}}
    for part in ("state", "action"):
        for key in (modality_configs.get(part) or {}).get("modality_keys") or []:
            content[part][key] = _of_column(dataset, dataset.modality.slice(part, key))
    horizon = len(action_deltas(modality_configs))
    for key in relative_keys(modality_configs):
        content["relative_action"][key] = _of_relative_action(dataset, key, horizon)
    return content


def _of_column(dataset: GrootDataset, slice_: Slice) -> dict[str, list[Any]]:
    file, advice = dataset.path / layout.STATS, f"make it anew with: groot-ray stats {dataset.path}"
    column = dataset.stats.get(slice_.column) or {}
    missing = [name for name in STATISTICS if name not in column]
    if missing:
        raise DataError(f"{file} has no {', '.join(missing)} of column {slice_.column!r}; {advice}")
    if any(len(column[name]) < slice_.end for name in STATISTICS):
        raise DataError(
            f"{file} has {len(column['mean'])} dimensions of column {slice_.column!r} where modality.json needs {slice_.end}; {advice}"
        )
    return {name: list(column[name][slice_.start : slice_.end]) for name in STATISTICS}


def _of_relative_action(dataset: GrootDataset, key: str, horizon: int) -> dict[str, list[Any]]:
    file, advice = dataset.path / layout.RELATIVE_STATS, f"make it anew with: groot-ray stats {dataset.path}"
    found = dataset.relative_stats.get(key) or {}
    dims = dataset.modality.slice("action", key).dims
    if any(name not in found for name in STATISTICS):
        raise DataError(f"{file} has no statistics of the RELATIVE action {key!r}; {advice}")
    for name in STATISTICS:
        if len(found[name]) != horizon or any(len(row) != dims for row in found[name]):
            raise DataError(
                f"{file} was made for {len(found[name])} steps of {key!r}, the configuration has {horizon} steps of {dims} dimensions; {advice}"
            )
    return {name: [list(row) for row in found[name]] for name in STATISTICS}
