"""Which columns of the predicted actions belong to which component, their names, and which the robot has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from groot_ray.embodiment.dimensions import dim_names, dim_units, real_dims

if TYPE_CHECKING:
    from groot_ray.dataset.groot.modality import Modality, Slice
    from groot_ray.embodiment.schema import Embodiment


@dataclass(frozen=True)
class ActionLayout:
    """The concatenation of the action keys, in the order of the checkpoint's modality configuration.

    `names`, `units` and `kinds` (position, velocity or delta) have one entry per column; `real` has the columns that
    the robot has: padding and constant zeros are excluded and a replicated dimension counts once.
    """

    keys: tuple[str, ...]
    widths: tuple[int, ...]
    names: tuple[str, ...]
    units: tuple[str, ...]
    kinds: tuple[str, ...]
    real: tuple[int, ...]

    @property
    def dims(self) -> int:
        """Number of columns."""
        return sum(self.widths)

    def columns(self, key: str, real_only: bool = False) -> list[int]:
        """Columns of a component, all or only those that the robot has."""
        at = self.keys.index(key)
        start = sum(self.widths[:at])
        columns = range(start, start + self.widths[at])
        return [c for c in columns if not real_only or c in self.real]

    def component(self, column: int) -> str:
        """The component that a column belongs to."""
        return next(key for key in self.keys if column in self.columns(key))


def action_layout(
    keys: Sequence[str],
    modality: Modality,
    embodiment: Embodiment | None = None,
    features: Mapping[str, Any] | None = None,
) -> ActionLayout:
    """Lay out the action keys of a checkpoint over a dataset.

    Args:
        keys: action keys of the checkpoint's modality configuration.
        modality: the dataset's ``meta/modality.json``.
        embodiment: its ``meta/embodiment.json``; where that does not describe all keys in these widths, names come
            from `features` and every dimension counts as real.
        features: ``features`` of its ``meta/info.json``, whose ``names`` are used where there is no embodiment.

    Raises:
        DataError: modality.json lacks a key.
    """
    slices = [modality.slice("action", key) for key in keys]
    widths = tuple(s.dims for s in slices)
    if embodiment is not None:
        described = {c.key: c for c in embodiment.action}
        if all(key in described and described[key].dims == width for key, width in zip(keys, widths, strict=True)):
            return ActionLayout(
                keys=tuple(keys),
                widths=widths,
                names=tuple(dim_names(embodiment, "action", list(keys))),
                units=tuple(dim_units(embodiment, "action", list(keys))),
                kinds=tuple(described[key].kind for key in keys for _ in range(described[key].dims)),
                real=tuple(real_dims(embodiment, "action", list(keys))),
            )
    names = tuple(
        name for key, slice_ in zip(keys, slices, strict=True) for name in _feature_names(key, slice_, features or {})
    )
    dims = sum(widths)
    return ActionLayout(tuple(keys), widths, names, ("",) * dims, ("position",) * dims, tuple(range(dims)))


def _feature_names(key: str, slice_: Slice, features: Mapping[str, Any]) -> list[str]:
    """Names such as ``arm.shoulder`` from the dataset's features, else ``arm.0``."""
    names = (features.get(slice_.column) or {}).get("names")
    if isinstance(names, Mapping) and len(names) == 1:
        names = next(iter(names.values()))
    if isinstance(names, list) and len(names) >= slice_.end:
        return [key if str(name) == key else f"{key}.{name}" for name in names[slice_.start : slice_.end]]
    return [key] if slice_.dims == 1 else [f"{key}.{i}" for i in range(slice_.dims)]
