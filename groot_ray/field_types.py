"""Types of fields in checked documents, and their base class: numbers are finite, and booleans are not numbers.

Text that holds a number stays allowed: programs that write YAML often quote ``1e-4``.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

LONGEST_TEXT = 10_000  # characters of a text in a document
BILLION = 1_000_000_000

Seed = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]  # as torch takes them
PositiveSeed = Annotated[int, Field(ge=0, le=2**63 - 1)]  # as numpy takes them
Step = Annotated[int, Field(ge=1, le=BILLION)]
Episodes = Annotated[list[Annotated[int, Field(ge=0, le=BILLION)]], Field(min_length=1, max_length=1_000_000)]


class Checked(BaseModel):
    """Base of all parts of documents: unknown keys are errors, numbers are finite, booleans are not numbers."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, str_max_length=LONGEST_TEXT)

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_as_number(cls, value: Any, info: ValidationInfo) -> Any:
        annotation: Any = cls.model_fields[str(info.field_name)].annotation
        kinds = _kinds(annotation)
        if Any not in kinds:
            for leaf in _leaves(value):
                _check_kind(leaf, kinds)
        return value


def _check_kind(value: Any, kinds: frozenset[Any]) -> None:
    numbers = bool(kinds & {int, float})
    if isinstance(value, bool) and numbers and bool not in kinds:
        raise ValueError("a number is expected, not true or false")
    if isinstance(value, int | float) and not isinstance(value, bool) and bool in kinds and not numbers:
        raise ValueError("true or false is expected, not a number")


def _leaves(value: Any) -> Iterator[Any]:
    """A value, or the values in a list or a mapping of them."""
    if isinstance(value, list | tuple):
        yield from value
    elif isinstance(value, dict):
        yield from value.values()
    else:
        yield value


@cache
def _kinds(annotation: Any) -> frozenset[Any]:
    """The types that a value, or a value in its list or mapping, may have."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return frozenset()
    if origin is Annotated:
        return _kinds(inner[0])
    if origin is dict:
        return _kinds(inner[1])
    if origin in (Union, types.UnionType, list, tuple):
        return frozenset().union(*map(_kinds, inner))
    return frozenset({annotation})
