"""Names and units of single dimensions, and which of them the robot has; the rest are padding, copies or zeros."""

from __future__ import annotations

from collections.abc import Sequence

from groot_ray.embodiment.components import Component, Part
from groot_ray.embodiment.schema import Embodiment
from groot_ray.errors import ConfigurationError, did_you_mean


def chosen(embodiment: Embodiment, part: Part, keys: Sequence[str] | None) -> list[Component]:
    """The trained components, or those in `keys`, in that order.

    Raises:
        ConfigurationError: a key is not a component of the part.
    """
    if keys is None:
        return list(embodiment.components(part, trained=True))
    known = {c.key: c for c in embodiment.components(part)}
    for key in keys:
        if key not in known:
            raise ConfigurationError(
                f"{key!r} is not one of the {part} components of embodiment {embodiment.name!r}"
                f"{did_you_mean(key, known)}"
            )
    return [known[key] for key in keys]


def source_names(component: Component) -> list[str]:
    """Full name of each source dimension of a component, such as ``left_arm.waist``."""
    if component.names is not None:
        return [name if name == component.key else f"{component.key}.{name}" for name in component.names]
    count = component.width or component.dims
    return [component.key] if count == 1 else [f"{component.key}.{i}" for i in range(count)]


def _names(component: Component) -> list[str]:
    names = source_names(component)
    missing = range(1, component.dims - len(names) + 1)
    if component.expand == "replicate":
        return names + [f"{names[0]} (copy {i})" for i in missing]
    return names + [f"{component.key} (padding {i})" for i in missing]


def _units(component: Component) -> list[str]:
    count = component.width or component.dims
    units = component.units if isinstance(component.units, list) else [component.units or ""] * count
    filler = units[0] if component.expand == "replicate" else ""
    return units + [filler] * (component.dims - count)


def dim_names(embodiment: Embodiment, part: Part, keys: Sequence[str] | None = None) -> list[str]:
    """Names of all dimensions of the chosen components, concatenated."""
    return [name for c in chosen(embodiment, part, keys) for name in _names(c)]


def dim_units(embodiment: Embodiment, part: Part, keys: Sequence[str] | None = None) -> list[str]:
    """Units of all dimensions of the chosen components, concatenated; empty string if unknown."""
    return [unit for c in chosen(embodiment, part, keys) for unit in _units(c)]


def real_dims(embodiment: Embodiment, part: Part, keys: Sequence[str] | None = None) -> list[int]:
    """Indices of the robot's own dimensions in that concatenation: no padding, no zeros, and a replicated one once."""
    indices: list[int] = []
    at = 0
    for component in chosen(embodiment, part, keys):
        indices.extend(range(at, at + component.real))
        at += component.dims
    return indices
