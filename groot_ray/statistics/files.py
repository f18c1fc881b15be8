"""meta/stats.json and meta/relative_stats.json of a dataset in GR00T's layout.

The first pass over the parquet files gives the moments and a sample of the rows, which for small data is all rows;
otherwise a second pass makes the percentiles exact (see `percentiles`). Parts are independent:
`map_parts` may send them to other processes. Results are merged in the order of the parts, so that the files
have the same bytes for any number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from groot_ray.dataset.groot import layout
from groot_ray.errors import DataError
from groot_ray.statistics.columns import NumericDataset, numeric_dataset, relative_name
from groot_ray.statistics.moments import Moments
from groot_ray.statistics.percentiles import Bracket, RankSearch, Sample, interpolate, neighbors, quantiles_of
from groot_ray.storage import open_location

if TYPE_CHECKING:
    from groot_ray.storage import Location

QUANTILES = (0.01, 0.99)

MapParts = Callable[[Callable[[NumericDataset], Any], list[NumericDataset]], Iterable[Any]]
Counter = Sample | Bracket | RankSearch


@dataclass(frozen=True)
class Memory:
    """Memory limits in float32 values: for a sample (at least `rows` rows) and for values in brackets (64 MB each)."""

    rows: int = 8192
    sample: int = 16_000_000
    between: int = 16_000_000

    def stride(self, frames: int, values: int) -> int:
        """Stride n of a sample that keeps every n-th of `frames` rows with `values` values each.

        Within the memory limit, a sample grows with the data, so that brackets become narrower.
        """
        rows = min(max(self.rows, frames // 64), max(self.sample // values, 1024))
        return -(-frames // rows) or 1


def compute_statistics(
    dataset: Path | str | Location,
    modality_configs: Mapping[str, Any],
    *,
    map_parts: MapParts = map,
    memory: Memory = Memory(),
) -> list[Location]:
    """Compute and write both files; returns their locations.

    Args:
        dataset: a dataset in GR00T's layout; videos are not read.
        modality_configs: plain data in the form of NVIDIA's processor_config.json, for one embodiment.
        map_parts: like `map`, with results in the order of its second argument; may distribute the work.
        memory: memory limit for percentiles, which are exact in any case.

    Raises:
        DataError: a file is missing or damaged, a column's width differs from info.json, or a column has values that
            are not finite.
    """
    location = open_location(dataset)
    absolute, relative = dataset_statistics(location, modality_configs, map_parts=map_parts, memory=memory)
    (location / layout.STATS).write_json(absolute)
    (location / layout.RELATIVE_STATS).write_json(relative)
    return [location / layout.STATS, location / layout.RELATIVE_STATS]


def dataset_statistics(
    location: Location,
    modality_configs: Mapping[str, Any],
    *,
    map_parts: MapParts = map,
    memory: Memory = Memory(),
) -> tuple[dict[str, dict[str, list[Any]]], dict[str, dict[str, list[Any]]]]:
    """The content of stats.json, by column, and of relative_stats.json, by action key; see `compute_statistics`."""
    data = numeric_dataset(location, modality_configs)
    values = sum(int(np.prod(shape)) for shape in data.names.values())
    stride = memory.stride(sum(file.length or 0 for file in data.files), values)
    moments: dict[str, Moments] = {}
    samples: dict[str, Counter] = {}
    parts = data.parts()
    for part in map_parts(partial(first_pass, stride=stride), parts):
        _merge_into(moments, part.moments)
        _merge_into(samples, part.samples)
    empty = [name for name, found in moments.items() if not found.count]
    if empty:
        raise DataError(
            f"{location.uri} has no frames for the statistics of {', '.join(empty)}; its episodes are too short"
        )
    quantiles = _percentiles(parts, moments, samples, map_parts, memory)
    content = {name: _entry(moments[name], quantiles[name], shape) for name, shape in data.names.items()}
    absolute = {name: content[name] for name in data.columns}
    order = ("max", "min", "q01", "q99", "mean", "std")
    relative = {
        action.key: {name: content[relative_name(action.key)][name] for name in order} for action in data.relative
    }
    return absolute, relative


@dataclass(frozen=True)
class FirstPass:
    """Result of the first pass over a part, for each quantity."""

    moments: dict[str, Moments]
    samples: dict[str, Sample]


def first_pass(data: NumericDataset, stride: int) -> FirstPass:
    """Moments of every quantity of a part, and every `stride`-th of its rows."""
    moments = {name: Moments.empty((int(np.prod(shape)),)) for name, shape in data.names.items()}
    samples = {name: Sample(stride) for name in moments}
    for name, block in data.blocks(moments):
        moments[name].update_columns(block)
        samples[name].update(block)
    return FirstPass(moments, samples)


def next_pass(data: NumericDataset, counters: Mapping[str, Bracket | RankSearch]) -> dict[str, Bracket | RankSearch]:
    """Run a later pass over a part; `counters` say what to count. Returns the filled counters."""
    counted = {name: counter.fresh() for name, counter in counters.items()}
    for name, block in data.blocks(counted):
        counted[name].update(block)
    return counted


def _percentiles(
    parts: list[NumericDataset],
    moments: Mapping[str, Moments],
    samples: Mapping[str, Counter],
    map_parts: MapParts,
    memory: Memory,
) -> dict[str, np.ndarray]:
    """Exact quantiles float64 [Q, values] of every quantity."""
    quantiles: dict[str, np.ndarray] = {}
    brackets: dict[str, Any] = {}
    expected = 0.0
    for name, sample in samples.items():
        assert isinstance(sample, Sample)
        kept = sample.columns
        if kept.shape[1] == moments[name].count:
            quantiles[name] = quantiles_of(kept, QUANTILES)
            continue
        brackets[name] = Bracket.around(kept, QUANTILES)
        expected += _share_between(brackets[name], kept) * moments[name].count * len(kept)
    ranks = {name: neighbors(moments[name].count, QUANTILES) for name in brackets}
    searches: dict[str, Any] = {}
    counted = _count(parts, brackets, map_parts) if brackets and expected <= memory.between else {}
    for name, (wanted, weights) in ranks.items():
        found = counted[name].values(wanted) if name in counted else None
        if found is None:
            searches[name] = RankSearch(len(moments[name].mean))
        else:
            quantiles[name] = interpolate(found, weights)
    while searches:
        counted = _count(parts, searches, map_parts)
        searches = {name: search.narrow(ranks[name][0].reshape(-1)) for name, search in counted.items()}
        for name in [name for name, search in searches.items() if search.done]:
            found = searches.pop(name).values.reshape(len(QUANTILES), 2, -1)
            quantiles[name] = interpolate(found, ranks[name][1])
    return quantiles


def _share_between(bracket: Bracket, sample: np.ndarray) -> float:
    """Share of the sampled values that are strictly within a bracket."""
    inside = [
        (sample > low[:, None]) & (sample < high[:, None]) for low, high in zip(bracket.low, bracket.high, strict=True)
    ]
    return float(sum(part.mean() for part in inside))


def _count(parts: list[NumericDataset], counters: Mapping[str, Any], map_parts: MapParts) -> dict[str, Any]:
    counted: dict[str, Any] = {}
    for found in map_parts(partial(next_pass, counters=counters), parts):
        _merge_into(counted, found)
    return counted


def _merge_into(counters: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, counter in more.items():
        if name in counters:
            counters[name].merge(counter)
        else:
            counters[name] = counter


def _entry(moments: Moments, quantiles: np.ndarray, shape: tuple[int, ...]) -> dict[str, list[Any]]:
    values = {
        "mean": moments.mean,
        "std": moments.std,
        "min": moments.low,
        "max": moments.high,
        "q01": quantiles[0],
        "q99": quantiles[1],
    }
    return {name: array.reshape(shape).tolist() for name, array in values.items()}
