"""Checks that stats.json and relative_stats.json are present, complete, finite, ordered, and match the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from groot_ray.dataset.checks.report import Finding
from groot_ray.dataset.groot import layout
from groot_ray.dataset.groot.key_statistics import STATISTICS, relative_keys
from groot_ray.embodiment.modality import modality_configs
from groot_ray.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from groot_ray.dataset.checks.episode import ColumnSummary
    from groot_ray.dataset.groot.dataset import GrootDataset

# The reference computes in float32: over millions of frames, mean and deviation drift by up to 6e-4 of the value.
TOLERANCE = 2e-3


def check_statistics(dataset: GrootDataset, episodes: Sequence[Mapping[str, ColumnSummary]]) -> Iterator[Finding]:
    """Compare the statistics files with summaries of the episodes' columns."""
    advice = f"regenerate it with: groot-ray stats {dataset.path}"
    try:
        stats = dataset.stats
    except DataError as error:
        yield Finding(str(error))
    else:
        used = {s.column for s in (*dataset.modality.state.values(), *dataset.modality.action.values())}
        for name in sorted(used | {name for episode in episodes for name in episode}):
            if name in used or name in stats:
                yield from _column(name, stats.get(name), [e[name] for e in episodes if name in e], advice)
    yield from _relative(dataset, advice)


def _column(name: str, entry: Any, episodes: Sequence[ColumnSummary], advice: str) -> Iterator[Finding]:
    if not isinstance(entry, Mapping):
        yield Finding(f"{layout.STATS} has no statistics of this column; {advice}", column=name)
        return
    widths = {len(episode.mean) for episode in episodes}
    shape = (widths.pop(),) if len(widths) == 1 else None
    arrays = yield from _arrays(entry, shape, layout.STATS, name, advice)
    if arrays is None or not episodes:
        return
    yield from _in_order(arrays, layout.STATS, name, advice)
    if shape is not None:
        yield from _as_computed(arrays, _merge(episodes), name, advice)


def _arrays(entry: Mapping[str, Any], shape: tuple[int, ...] | None, file: str, name: str, advice: str) -> Any:
    """The six statistics as float64 arrays, or None if there are findings."""
    import numpy as np

    missing = [s for s in STATISTICS if s not in entry]
    if missing:
        yield Finding(f"{file} has no {', '.join(missing)}; {advice}", column=name)
        return None
    try:
        arrays = {s: np.asarray(entry[s], dtype=np.float64) for s in STATISTICS}
    except (TypeError, ValueError):
        yield Finding(f"{file} holds something that is not an array of numbers; {advice}", column=name)
        return None
    for statistic, array in arrays.items():
        if shape is not None and array.shape != shape:
            yield Finding(
                f"{file} has {statistic} of shape {list(array.shape)} instead of {list(shape)}; {advice}", column=name
            )
            return None
        if not np.isfinite(array).all():
            yield Finding(f"{file} has a {statistic} that is not finite; {advice}", column=name)
            return None
    return arrays


def _in_order(arrays: Mapping[str, np.ndarray], file: str, name: str, advice: str) -> Iterator[Finding]:
    import numpy as np

    slack = 1e-5 * (np.abs(arrays["max"]) + np.abs(arrays["min"])) + 1e-7
    ordered = [("min", "q01"), ("q01", "q99"), ("q99", "max"), ("min", "mean"), ("mean", "max")]
    for low, high in ordered:
        if arrays[low].shape == arrays[high].shape and (arrays[low] > arrays[high] + slack).any():
            yield Finding(f"{file} has {low} above {high}; {advice}", column=name)
            return
    if (arrays["std"] < 0).any():
        yield Finding(f"{file} has a negative std; {advice}", column=name)


def _as_computed(
    arrays: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], name: str, advice: str
) -> Iterator[Finding]:
    import numpy as np

    spread = np.maximum(truth["max"] - truth["min"], 1e-6)
    for statistic, actual in truth.items():
        off = np.abs(arrays[statistic] - actual) > TOLERANCE * np.maximum(spread, np.abs(actual) * 1e-2) + 1e-6
        if off.any():
            dim = int(np.argmax(off))
            yield Finding(
                f"{layout.STATS} says {statistic} {arrays[statistic][dim]:.6g} of dimension {dim}, the data has "
                f"{actual[dim]:.6g}; {advice}",
                column=name,
            )
            return


def _merge(episodes: Sequence[ColumnSummary]) -> dict[str, np.ndarray]:
    """Statistics of all episodes together (Chan et al.'s update of means and squared deviations)."""
    import numpy as np

    count, mean, squares = 0, np.zeros_like(episodes[0].mean), np.zeros_like(episodes[0].mean)
    with np.errstate(invalid="ignore"):  # non-finite values are separate findings
        for episode in episodes:
            total = count + episode.count
            delta = episode.mean - mean
            mean = mean + delta * episode.count / total
            squares = squares + episode.squares + delta**2 * count * episode.count / total
            count = total
    return {
        "mean": mean,
        "std": np.sqrt(squares / count),
        "min": np.min([e.smallest for e in episodes], axis=0),
        "max": np.max([e.largest for e in episodes], axis=0),
    }


def _relative(dataset: GrootDataset, advice: str) -> Iterator[Finding]:
    """Check statistics of RELATIVE actions: those that the embodiment needs, and all others in the file."""
    try:
        embodiment = dataset.embodiment
    except DataError:  # reported with the meta files
        embodiment = None
    configs = modality_configs(embodiment) if embodiment is not None else {}
    needed = relative_keys(configs)
    try:
        relative = dataset.relative_stats
    except DataError as error:
        # Without an embodiment it is unknown which actions are RELATIVE; training then computes the file if needed.
        if embodiment is None or needed:
            yield Finding(str(error), warning=embodiment is None)
        return
    horizon = len(configs["action"]["delta_indices"]) if configs else None
    for key in dict.fromkeys([*needed, *relative]):
        if key not in relative:
            yield Finding(f"{layout.RELATIVE_STATS} has no statistics of this RELATIVE action; {advice}", column=key)
            continue
        known = dataset.modality.action.get(key)
        if known is None:
            yield Finding(
                f"{layout.RELATIVE_STATS} has statistics of an action that {layout.MODALITY} does not have",
                column=key,
                warning=True,
            )
            continue
        rows = horizon if key in needed and horizon is not None else _rows(relative[key])
        shape = (rows, known.dims) if rows is not None else None
        arrays = yield from _arrays(relative[key], shape, layout.RELATIVE_STATS, key, advice)
        if arrays is not None:
            yield from _in_order(arrays, layout.RELATIVE_STATS, key, advice)


def _rows(entry: Mapping[str, Any]) -> int | None:
    first = entry.get("mean")
    return len(first) if isinstance(first, list) else None
