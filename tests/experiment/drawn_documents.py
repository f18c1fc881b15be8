"""Documents drawn from the schema: values within and beyond the bounds of each field, and values of wrong types."""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types as at
from hypothesis import strategies as st
from pydantic import BaseModel

from groot_ray.experiment.schema import ConversionOptions, EvaluationOptions, SplitOptions, TrainingOptions

SECTIONS: dict[str, type[BaseModel]] = {
    "conversion": ConversionOptions,
    "splits": SplitOptions,
    "training": TrainingOptions,
    "evaluation": EvaluationOptions,
}
LEFT_OUT = {"use_wandb", "wandb_project"}  # a service elsewhere
WRONG: list[Any] = [
    True,
    False,
    "",
    "x",
    "1e-4",
    "\0",
    "é\ud800",
    [],
    {},
    [3, 1],
    [[]],
    {"a": 1},
    None,
    -1,
    0,
    0.5,
    2**63,
]
WRONG += [float("inf"), float("-inf"), float("nan"), 1e300, -1e300, 10**400, "yes", "12", {"hue": 0.4}, {"hue": 9}]


def documents() -> st.SearchStrategy[dict[str, Any]]:
    """Sections of a document with a few options each. In one of three, some of the values have a wrong type."""
    return st.integers(0, 2).flatmap(
        lambda kind: st.fixed_dictionaries({name: _section(model, kind == 0) for name, model in SECTIONS.items()})
    )


def _section(model: type[BaseModel], wrong: bool) -> st.SearchStrategy[dict[str, Any]]:
    fields = {name: info for name, info in model.model_fields.items() if name not in LEFT_OUT}
    values = {name: _right(_with(info.annotation, info.metadata), []) for name, info in fields.items()}
    if wrong:
        values = {name: value | st.sampled_from(WRONG) for name, value in values.items()}
    names = st.lists(st.sampled_from(sorted(fields)), min_size=1, max_size=3, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: values[name] for name in chosen}))


def _with(annotation: Any, metadata: list[Any]) -> Any:
    return Annotated[(annotation, *metadata)] if metadata else annotation  # type: ignore[index]


def _right(annotation: Any, rules: list[Any]) -> st.SearchStrategy[Any]:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _right(inner[0], [*rules, *inner[1:]])
    if origin in (Union, types.UnionType):
        return st.one_of([_right(branch, rules) for branch in inner])
    if origin is Literal:
        return st.sampled_from(inner)
    if origin is list:
        return st.lists(_right(inner[0], []), max_size=3)
    if origin is tuple:
        return st.tuples(*(_right(item, []) for item in inner)).map(list)
    if origin is dict:
        names = st.sampled_from(["brightness", "contrast", "saturation", "hue", "masked_region_transforms", "p"])
        return st.dictionaries(names, _right(inner[1], []), max_size=2)
    if annotation in (int, float):
        return _number(annotation, rules)
    if annotation is bool:
        return st.booleans()
    return st.just(None) if annotation is type(None) else st.sampled_from(["x", "", "1e-4"])


def _number(kind: type, rules: list[Any]) -> st.SearchStrategy[Any]:
    low, high = 0.0, 1e6
    for rule in [part for outer in rules for part in (getattr(outer, "metadata", None) or [outer])]:
        if isinstance(rule, at.Ge):
            low = rule.ge  # type: ignore[assignment]
        elif isinstance(rule, at.Gt):
            low = rule.gt  # type: ignore[assignment]
        elif isinstance(rule, at.Le):
            high = rule.le  # type: ignore[assignment]
        elif isinstance(rule, at.Lt):
            high = rule.lt  # type: ignore[assignment]
    usual = st.integers(1, 3) if kind is int else st.floats(1e-6, 0.999)
    bounds = st.sampled_from([kind(low), kind(high)])
    return st.integers(0, 5).flatmap(lambda number: usual if number else bounds)
