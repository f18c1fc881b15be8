"""The part of `parity` that knows a model family's recordings: the package of the same name as the family's own."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from groot_ray.errors import ConfigurationError
from groot_ray.model.family import ModelFamily


def family_module(family: ModelFamily, name: str) -> Any:
    """Module `name` of ``parity/<folder>/``, for a family in ``model/<folder>/``.

    Raises:
        ConfigurationError: nothing of this family can be compared.
    """
    folder = type(family).__module__.rpartition(".")[0].rpartition(".")[2]
    package = f"groot_ray.parity.{folder}"
    if not folder or find_spec(package) is None:
        raise ConfigurationError(
            f"outputs of model type {family.model_type!r} cannot be compared: there is no package {package}"
        )
    return import_module(f"{package}.{name}")
