"""The reference documentation of the experiment file, made from the schema."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from groot_ray.experiment.document import Document


def markdown() -> str:
    """All keys of the document with type, default and meaning; operational keys (which change no result) are marked."""
    lines = [
        "# Reference of the experiment file",
        "",
        "Made by `groot-ray experiment reference`. Keys marked ° are operational: they cannot change a result and enter no stage key.",
    ]
    for name, info in Document.model_fields.items():
        model = _model(info.annotation)
        if model is not None:
            lines += _section(info.alias or name, model)
    return "\n".join(lines)


def _section(place: str, model: type[BaseModel]) -> list[str]:
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
        inner = _model(info.annotation)
        if inner is not None:
            nested += _section(f"{place}.{name}", inner)
            continue
        extra = info.json_schema_extra
        mark = "°" if isinstance(extra, dict) and extra.get("operational") else ""
        default = "required" if info.is_required() else f"`{info.get_default(call_default_factory=True)!r}`"
        kind = _type(info.annotation).replace("|", "\\|")
        lines.append(f"| `{info.alias or name}`{mark} | {kind} | {default} | {info.description or ''} |")
    return lines + nested


def _type(annotation: Any) -> str:
    text = (
        annotation.__name__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else str(annotation)
    )
    for prefix in ("typing.", "groot_ray.experiment.schema.", "groot_ray.experiment.cluster.", "<class '", "'>"):
        text = text.replace(prefix, "")
    import re

    return re.sub(r"Annotated\[(\w+), [^\]]*\]", r"\1", text)


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner
    return None
