"""Turns pydantic errors into sentences: the key, what is wrong with it, and the closest known key."""

from __future__ import annotations

from datetime import date
from typing import Any

from pydantic import BaseModel, ValidationError

from groot_ray.errors import did_you_mean

FEW = 10  # mistakes of a document that are named; the others are counted
SHOWN = 80  # characters of a wrong value that are shown
REFUSED = "refused"  # type of errors whose message is for the user and whose input may hold a password


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Describe validation errors of `model` in one line, separated by semicolons: the first few, and how many more."""
    sentences: list[str] = []
    seen: set[tuple[Any, ...]] = set()
    for item in error.errors(include_url=False):
        place = tuple(part for part in item["loc"] if not _is_union_branch(part))
        if place in seen:  # a union reports one error per branch
            continue
        seen.add(place)
        if len(seen) > FEW:
            continue
        name = ".".join(_shown(part) if isinstance(part, str) and len(part) > SHOWN else str(part) for part in place)
        if item["type"] == "extra_forbidden":
            known = _fields_at(model, place[:-1])
            sentences.append(f"unknown key {name!r}{did_you_mean(str(place[-1]), known)}")
        elif item["type"] == "missing":
            sentences.append(f"{name!r} is missing")
        elif item["type"] in ("model_type", "model_attributes_type"):
            given = item.get("input")
            problem = "is empty" if given is None else f"is {_shown(given)}"
            sentences.append(f"{name!r} {problem}; give it keys and values, or leave it out")
        elif item["type"] == REFUSED:
            sentences.append(f"{name!r}: {item['msg']}")
        else:
            message = item["msg"].removeprefix("Value error, ")
            message = message[:1].lower() + message[1:]
            given = item.get("input")
            shown = "" if isinstance(given, dict | list) else f" (given: {_shown(given)})"
            if item["type"] == "string_type" and isinstance(given, int | float | date):
                shown += "; put it in quotes"
            sentences.append(f"{name!r}: {message}{shown}" if name else message)
    if len(seen) > FEW:
        sentences.append(f"and {len(seen) - FEW:,} more")
    return "; ".join(sentences)


def _shown(value: Any) -> str:
    """A wrong value as Python writes it, cut if it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _is_union_branch(part: Any) -> bool:
    """Whether pydantic added this part of a location to name a branch of a union."""
    text = str(part)
    return any(mark in text for mark in ("[", "literal", "constrained-")) or text in {
        "int",
        "float",
        "str",
        "tuple",
        "list",
        "dict",
        "none",
    }


def _fields_at(model: type[BaseModel], place: tuple[Any, ...]) -> list[str]:
    """Names of the fields that the schema has at a location."""
    current: Any = model
    for part in place:
        if isinstance(part, int):  # an index: the list's name already gave the model of its items
            continue
        fields = getattr(current, "model_fields", {})
        info = fields.get(str(part)) or next((f for f in fields.values() if f.alias == part), None)
        if info is None:
            return []
        current = _model_in(info.annotation)
        if current is None:
            return []
    return [info.alias or name for name, info in current.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found is not None:
            return found
    return None
