"""Statistics of modality keys, cut from those of entire columns, for the model's processor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groot_ray.dataset.groot import layout
from groot_ray.dataset.groot.modality import Modality, Slice
from groot_ray.dataset.groot.samples import action_deltas
from groot_ray.errors import DataError

STATISTICS = ("min", "max", "mean", "std", "q01", "q99")


def relative_keys(modality_configs: Mapping[str, Any]) -> list[str]:
    """Action keys whose representation is RELATIVE, in order."""
    action = modality_configs.get("action") or {}
    configs = action.get("action_configs") or []
    keys = action.get("modality_keys") or []
    return [key for key, config in zip(keys, configs, strict=False) if config.get("rep") == "RELATIVE"]


@dataclass(frozen=True)
class StatisticsFiles:
    """The content of stats.json by column, of relative_stats.json by action key, and the dataset's folder."""

    dataset: Path
    absolute: Mapping[str, Mapping[str, Any]]
    relative: Mapping[str, Mapping[str, Any]]

    @property
    def advice(self) -> str:
        """Advice on how to regenerate the file."""
        return f"regenerate it with: groot-ray stats {self.dataset}"


def key_statistics(
    files: StatisticsFiles, modality: Modality, modality_configs: Mapping[str, Any]
) -> dict[str, dict[str, dict[str, list[Any]]]]:
    """Statistics of the configuration's keys; see `GrootDataset.statistics`."""
    content: dict[str, dict[str, dict[str, list[Any]]]] = {"state": {}, "action": {}, "relative_action": {}}
    for part in ("state", "action"):
        for key in (modality_configs.get(part) or {}).get("modality_keys") or []:
            content[part][key] = _of_column(files, modality.slice(part, key))
    horizon = len(action_deltas(modality_configs))
    for key in relative_keys(modality_configs):
        content["relative_action"][key] = _of_relative_action(files, modality, key, horizon)
    return content


def _of_column(files: StatisticsFiles, slice_: Slice) -> dict[str, list[Any]]:
    file = files.dataset / layout.STATS
    column = files.absolute.get(slice_.column) or {}
    missing = [name for name in STATISTICS if name not in column]
    if missing:
        raise DataError(f"{file} has no {', '.join(missing)} of column {slice_.column!r}; {files.advice}")
    if any(len(column[name]) < slice_.end for name in STATISTICS):
        raise DataError(
            f"{file} has {len(column['mean'])} dimensions of column {slice_.column!r}, but modality.json needs "
            f"{slice_.end}; {files.advice}"
        )
    return {name: list(column[name][slice_.start : slice_.end]) for name in STATISTICS}


def _of_relative_action(files: StatisticsFiles, modality: Modality, key: str, horizon: int) -> dict[str, list[Any]]:
    file = files.dataset / layout.RELATIVE_STATS
    found = files.relative.get(key) or {}
    dims = modality.slice("action", key).dims
    if any(name not in found for name in STATISTICS):
        raise DataError(f"{file} has no statistics of the RELATIVE action {key!r}; {files.advice}")
    for name in STATISTICS:
        if len(found[name]) != horizon or any(len(row) != dims for row in found[name]):
            raise DataError(
                f"{file} covers {len(found[name])} steps of {key!r}, the configuration has {horizon} steps of "
                f"{dims} dimensions; {files.advice}"
            )
    return {name: [list(row) for row in found[name]] for name in STATISTICS}
