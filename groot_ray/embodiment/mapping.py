"""Forward and inverse mapping between a robot's columns and GR00T's vectors, as pure functions of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from groot_ray.embodiment.components import Component, Part
from groot_ray.embodiment.dimensions import source_names
from groot_ray.embodiment.schema import Embodiment
from groot_ray.errors import ConfigurationError, DataError, did_you_mean

if TYPE_CHECKING:
    import numpy as np


def source_width(embodiment: Embodiment, column: str) -> int:
    """Number of dimensions that a source column needs for all components that read it."""
    return max((c.end or 0) for c in (*embodiment.state, *embodiment.action) if c.column == column)


def map_columns(embodiment: Embodiment, part: Part, columns: Mapping[str, np.ndarray], where: str = "") -> np.ndarray:
    """Build the converted state or action vector of each frame.

    Args:
        columns: source columns by name, each float [T, W] (or [T] for a single dimension).
        where: what the columns belong to, for errors; for example ``"episode 3"``.

    Returns:
        float32 [T, D]: components in order, each expanded as its `expand` says.

    Raises:
        DataError: a column is missing, has the wrong width, a different number of rows, or holds NaN or infinity.
    """
    import numpy as np

    components = embodiment.components(part)
    rows = _rows(columns, where)
    vector = np.zeros((rows, sum(c.dims for c in components)), dtype=np.float32)
    at = 0
    for component in components:
        if component.width:
            values = _slice(embodiment, component, columns, where)
            if component.expand == "replicate":
                vector[:, at : at + component.dims] = values
            else:
                vector[:, at : at + component.width] = values
        at += component.dims
    return vector


def _rows(columns: Mapping[str, np.ndarray], where: str) -> int:
    counts = {name: len(values) for name, values in columns.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise DataError(f"{_at(where)}columns have different numbers of rows: {listed}")
    return next(iter(counts.values()), 0)


def _slice(embodiment: Embodiment, component: Component, columns: Mapping[str, np.ndarray], where: str) -> np.ndarray:
    """Values of a component's source dimensions, [T, width], checked."""
    import numpy as np

    name = component.column or ""
    if name not in columns:
        raise DataError(
            f"{_at(where)}column {name!r}, which component {component.key!r} reads, is missing"
            f"{did_you_mean(name, columns)}"
        )
    column = np.asarray(columns[name])
    if column.ndim == 1:
        column = column[:, None]
    needed = source_width(embodiment, name)
    if column.ndim != 2 or column.shape[1] < needed or (column.shape[1] > needed and not embodiment.ignore_extra_dims):
        extra = (
            "; set ignore_extra_dims: true to leave the others out"
            if column.ndim == 2 and column.shape[1] > needed
            else ""
        )
        raise DataError(
            f"{_at(where)}column {name!r} has {'x'.join(str(n) for n in column.shape[1:])} dimensions, "
            f"but embodiment {embodiment.name!r} describes {needed}{extra}"
        )
    if column.dtype.kind not in "fiub":
        raise DataError(f"{_at(where)}column {name!r} holds no numbers ({column.dtype})")
    values = column[:, component.start : component.end]
    finite = np.isfinite(values)
    if not finite.all():
        row, dim = (int(i) for i in np.argwhere(~finite)[0])
        raise DataError(
            f"{_at(where)}column {name!r} holds {values[row, dim]} at row {row}, dimension "
            f"{(component.start or 0) + dim} ({source_names(component)[dim]}); repair or leave out the episode"
        )
    return values


def _at(where: str) -> str:
    return f"{where}: " if where else ""


def to_robot(
    embodiment: Embodiment, values: Mapping[str, np.ndarray], part: Part = "action", fill: float = float("nan")
) -> dict[str, np.ndarray]:
    """Map the model's components to the robot's own columns: padding is dropped, copies are merged.

    Args:
        values: trained components by key, each [..., dims]; leading axes (batch, steps) are kept.
        fill: value of source dimensions that no trained component covers; NaN by default, so that no robot takes it
            for a command.

    Returns:
        float32 [..., W] for each source column, W as described by the embodiment.

    Raises:
        ConfigurationError: a trained component is missing or has the wrong width.
    """
    import numpy as np

    columns: dict[str, np.ndarray] = {}
    known = [c.key for c in embodiment.components(part, trained=True)]
    for key in values:
        if key not in known:
            raise ConfigurationError(
                f"{key!r} is not a trained {part} component of embodiment {embodiment.name!r}{did_you_mean(key, known)}"
            )
    for component in embodiment.components(part, trained=True):
        if component.key not in values:
            raise ConfigurationError(f"{part} component {component.key!r} of embodiment {embodiment.name!r} is missing")
        array = np.asarray(values[component.key], dtype=np.float32)
        if array.ndim == 0 or array.shape[-1] != component.dims:
            raise ConfigurationError(
                f"{part} component {component.key!r} has shape {list(array.shape)}; "
                f"its last axis must have {component.dims}"
            )
        if not component.width or component.column is None:
            continue
        if component.column not in columns:
            shape = (*array.shape[:-1], _width_of_part(embodiment, part, component.column))
            columns[component.column] = np.full(shape, fill, dtype=np.float32)
        if component.expand == "replicate" and component.recover == "mean":
            real = array.mean(axis=-1, keepdims=True)
        else:
            real = array[..., : component.width]
        columns[component.column][..., component.start : component.end] = real
    return columns


def _width_of_part(embodiment: Embodiment, part: Part, column: str) -> int:
    return max((c.end or 0) for c in embodiment.components(part) if c.column == column)
