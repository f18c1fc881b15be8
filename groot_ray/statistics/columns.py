"""The data behind statistics: float columns and relative action chunks of parquet files, part by part."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from groot_ray.dataset.columns import read_columns
from groot_ray.dataset.features import width
from groot_ray.dataset.groot import layout
from groot_ray.dataset.groot.meta import read_modality
from groot_ray.dataset.groot.modality import Modality
from groot_ray.dataset.meta import read_episodes, read_info, read_tasks
from groot_ray.dataset.paths import EpisodePaths
from groot_ray.errors import DataError
from groot_ray.statistics.relative import RelativeAction, relative_actions

if TYPE_CHECKING:
    from groot_ray.storage import Location

FILES_PER_PART = 64
KEPT_VALUES = 16_000_000  # float32 values (64 MB) kept from the first pass, so that they are not read again


@dataclass(frozen=True)
class EpisodeFile:
    """A parquet file and how many of its rows belong to the episode; None if no episode is listed for it."""

    path: str
    length: int | None


@dataclass(frozen=True)
class NumericDataset:
    """What to read: the files, the float columns with their widths, and the RELATIVE actions with their slices.

    `kept` holds the values of the first pass if there are few; it is not sent to other processes.
    """

    location: Location
    files: tuple[EpisodeFile, ...]
    columns: Mapping[str, int]
    relative: tuple[RelativeAction, ...]
    modality: Modality
    kept: dict[str, dict[str, np.ndarray]] | None = field(default=None, compare=False)

    @property
    def names(self) -> dict[str, tuple[int, ...]]:
        """Shape of one row of each quantity: columns (W,), relative actions (H, D) under ``relative <key>``."""
        shapes: dict[str, tuple[int, ...]] = {name: (count,) for name, count in self.columns.items()}
        for action in self.relative:
            shapes[relative_name(action.key)] = (len(action.deltas), self.modality.slice("action", action.key).dims)
        return shapes

    def parts(self) -> list[NumericDataset]:
        """Runs of consecutive files, the same for any number of workers, so that sums are bit-identical."""
        count = FILES_PER_PART
        values = sum(file.length or 0 for file in self.files) * sum(self.columns.values())
        kept: dict[str, dict[str, np.ndarray]] | None = {} if values <= KEPT_VALUES else None
        return [replace(self, files=self.files[i : i + count], kept=kept) for i in range(0, len(self.files), count)]

    def blocks(self, wanted: Container[str]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (quantity, float32 [values, N]) blocks of all files for the `wanted` quantities, rows contiguous.

        Raises `DataError` naming file and column.
        """
        relative = [
            (relative_name(a.key), a, self.modality.slice("action", a.key), self.modality.slice("state", a.state_key))
            for a in self.relative
            if relative_name(a.key) in wanted
        ]
        columns = {name: count for name, count in self.columns.items() if name in wanted}
        needed = dict.fromkeys([*columns, *(part.column for *_, ours, theirs in relative for part in (ours, theirs))])
        for file in self.files:
            values = self._read(file, needed)
            for name in columns:
                yield name, values[name]
            if file.length is None:
                continue
            for name, action, ours, theirs in relative:
                actions = values[ours.column][ours.start : ours.end, : file.length]
                states = values[theirs.column][theirs.start : theirs.end, : file.length]
                for block in action.blocks(actions, states):
                    yield name, block

    def _read(self, file: EpisodeFile, needed: Iterable[str]) -> dict[str, np.ndarray]:
        """Columns of a file as float32 [W, T], from the first pass if they were kept."""
        if self.kept is not None and file.path in self.kept:
            return self.kept[file.path]
        where = f"{self.location.uri}/{file.path}"
        read = read_columns(self.location / file.path, list(needed), where)
        values = {name: _columns(array, f"{where}, column {name!r}") for name, array in read.items()}
        for name, count in self.columns.items():
            if name in values and len(values[name]) != count:
                raise DataError(f"{where}: column {name!r} has {len(values[name])} dimensions, info.json says {count}")
        if self.kept is not None:
            self.kept[file.path] = values
        return values

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "kept": None}


def relative_name(key: str) -> str:
    """Name of a RELATIVE action's quantity; distinct from columns, whose names contain no space."""
    return f"relative {key}"


def numeric_dataset(location: Location, modality_configs: Mapping[str, Any]) -> NumericDataset:
    """Read a dataset's metadata and list its parquet files; raises `DataError` if it is not in GR00T's layout."""
    info = read_info(location)
    features = info.get("features") or {}
    columns = {
        name: width(features, name) or 1
        for name, feature in features.items()
        if "float" in str(feature.get("dtype", ""))
    }
    paths = EpisodePaths(location.uri, info)
    lengths = {paths.data(episode.index): episode.length for episode in read_episodes(location, read_tasks(location))}
    found = sorted(
        f"data/{entry.relative}" for entry in (location / "data").list() if entry.relative.endswith(".parquet")
    )
    missing = sorted(set(lengths) - set(found))
    if missing:
        raise DataError(f"{location.uri} has no file {missing[0]}, which {layout.EPISODES} lists")
    files = tuple(EpisodeFile(path, lengths.get(path)) for path in found)
    relative = tuple(relative_actions(modality_configs))
    return NumericDataset(location, files, columns, relative, read_modality(location))


def _columns(values: np.ndarray, where: str) -> np.ndarray:
    """A column of the file as float32 [W, T], contiguous and checked for NaN and infinity."""
    columns = np.ascontiguousarray(values.reshape(len(values), -1).T, np.float32)
    finite = np.isfinite(columns)
    if not finite.all():
        row = int(np.argmin(finite.all(axis=0)))
        raise DataError(f"{where}: row {row} is not finite; repair the data")
    return columns
