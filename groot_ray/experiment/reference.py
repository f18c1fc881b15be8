"""Generates the reference documentation of the experiment file from the schema."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, WithJsonSchema
from pydantic.fields import FieldInfo

from groot_ray.experiment.document import Document


def markdown() -> str:
    """All keys of the document with type, default and meaning; operational keys (which do not affect results) are
    marked.
    """
    lines = [
        "# Reference of the experiment file",
        "",
        "Made by `groot-ray experiment reference`. Keys marked ° are operational: they cannot change a result and "
        "enter no stage key.",
    ]
    for name, info in Document.model_fields.items():
        model = _model(info.annotation)
        if model is not None:
            lines += _section(info.alias or name, model)
    return "\n".join(lines)


def _section(place: str, model: type[BaseModel], given: Any = None) -> list[str]:
    """The tables of a model and of the models in it; `given` holds defaults that override the model's own."""
    lines = [
        "",
        f"## `{place}`",
        "",
        (model.__doc__ or "").strip().splitlines()[0],
        "",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
    ]
    nested: list[str] = []
    for name, info in model.model_fields.items():
        default = info.get_default(call_default_factory=True) if given is None else getattr(given, name)
        inner = _model(info.annotation)
        if inner is not None:
            nested += _section(f"{place}.{name}", inner, default if isinstance(default, inner) else None)
            continue
        extra = info.json_schema_extra
        mark = "°" if isinstance(extra, dict) and extra.get("operational") else ""
        default_text = "required" if info.is_required() else f"`{default!r}`"
        kind = (" | ".join(map(repr, named_choices(info))) or type_name(info.annotation)).replace("|", "\\|")
        lines.append(f"| `{info.alias or name}`{mark} | {kind} | {default_text} | {info.description or ''} |")
    return lines + nested


def type_name(annotation: Any) -> str:
    """A type as a person writes it: `list[str] | None`, `'h264' | 'mp4v'`, without further constraints."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_name(inner[0])
    if origin is Literal:
        return " | ".join(map(repr, inner))
    if origin in (Union, UnionType):
        return " | ".join(map(type_name, inner))
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(type_name, inner))}]"
    return "None" if annotation is NoneType else str(annotation.__name__)


def named_choices(info: FieldInfo) -> list[str]:
    """The values of a field that takes a registered name, such as a model size; empty for other fields."""
    rules = (rule for rule in info.metadata if isinstance(rule, WithJsonSchema))
    return [str(name) for rule in rules for name in (rule.json_schema or {}).get("enum", ())]


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner
    return None
