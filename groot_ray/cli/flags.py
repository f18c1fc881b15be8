"""Command-line flags made from the experiment schema.

`with_flags` gives a command one flag per field of the sections that it uses, named as in the document
(``training.max_steps`` is ``--max-steps``), with the schema's description as help. Values are read as YAML and checked
by the schema, so a flag and the file accept exactly the same. `GuideCommand` reads the launch lines of NVIDIA's guides:
underscores for hyphens, several values after one flag (``--traj-ids 0 1 2``) and spelled-out booleans (``--use-wandb
True``).
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Optional, Union

import typer
from pydantic import BaseModel
from typer.core import TyperCommand

from groot_ray.errors import ConfigurationError
from groot_ray.experiment.reference import named_choices

# Flags whose name is not their field's, because two sections have the field or because the guides call it otherwise.
NAMES: dict[str, tuple[str, ...]] = {
    "experiment.name": ("--name",),
    "experiment.storage.uri": ("--storage",),
    "experiment.storage.endpoint": ("--endpoint",),
    "experiment.source.uri": ("--source", "--input-dir", "--input-path"),
    "experiment.source.revision": ("--source-revision",),
    "experiment.source.episodes": ("--episodes",),
    "experiment.conversion.fps": ("--fps", "--target-fps"),
    "experiment.conversion.resolution": ("--resolution", "--target-resolution"),
    "experiment.conversion.workers": ("--convert-workers",),
    "experiment.splits.train": ("--train-episodes",),
    "experiment.splits.validation": ("--validation-episodes",),
    "experiment.splits.test": ("--test-episodes",),
    "experiment.splits.seed": ("--split-seed",),
    "experiment.model.base": ("--base-model-path",),
    "experiment.model.revision": ("--base-model-revision",),
    "experiment.model.size": ("--model-size",),
    "experiment.model.seed": ("--model-seed",),
    "experiment.training.num_workers": ("--num-workers", "--num-gpus"),
    "experiment.evaluation.seed": ("--noise-seed",),
    "experiment.evaluation.steps": ("--steps",),
}


class GuideCommand(TyperCommand):
    """A command that also takes NVIDIA's way of writing flags."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = {name: option for option in self.params for name in (*option.opts, *option.secondary_opts)}
        return super().parse_args(ctx, rewrite_guide_flags(args, options))


def rewrite_guide_flags(args: Sequence[str], options: dict[str, Any]) -> list[str]:
    """Rewrite ``--a_b 1 2`` to ``--a-b 1 --a-b 2`` and ``--flag True`` to ``--flag``, for known `options`."""
    words = list(args)
    written: list[str] = []
    while words:
        word = words.pop(0)
        if not word.startswith("--") or word == "--":
            written.append(word)
            continue
        name, equals, value = word.partition("=")
        name = "--" + name[2:].replace("_", "-")
        option = options.get(name)
        if option is None:
            written.append(name + equals + value)
        elif getattr(option, "is_flag", False):
            given = value if equals else (words.pop(0) if words and words[0].lower() in {"true", "false"} else "true")
            opposite = option.secondary_opts[0] if option.secondary_opts else None
            on = given.lower() in {"true", "1", "yes"}
            if on == (name in option.opts):
                written.append(option.opts[0])
            elif opposite:
                written.append(opposite)
        elif getattr(option, "multiple", False):
            values = [value] if equals else []
            while words and not words[0].startswith("--") and not words[0].endswith((".yaml", ".yml")):
                values.append(words.pop(0))
            for item in values or [""]:
                written += [name, item]
        else:
            written += [name + equals + value] if equals else [name]
            if not equals and words:
                written.append(words.pop(0))
    return written


def flag_fields(sections: Sequence[tuple[str, type[BaseModel]]]) -> dict[str, tuple[str, Any]]:
    """Map each generated parameter's name to its dotted place in the document and its field."""
    fields: dict[str, tuple[str, Any]] = {}
    for prefix, model in sections:
        for name, info in model.model_fields.items():
            place = f"{prefix}.{name}"
            annotation = info.annotation
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                continue
            fields[place.replace(".", "__")] = (place, info)
    return fields


def with_flags(
    function: Callable[..., None], sections: Sequence[tuple[str, type[BaseModel]]], panels: bool = True
) -> Callable[..., None]:
    """Turn the fields of `sections` into flags of a command, which gets them in `overrides` by dotted name."""
    fields = flag_fields(sections)

    def command(**parameters: Any) -> None:
        overrides: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for name, value in parameters.items():
            if name not in fields:
                own[name] = value
            elif value is not None and value != []:
                place, info = fields[name]
                overrides[place] = read_value(place, info.annotation, value)
        function(**own, overrides=overrides)

    parameters = [p for p in inspect.signature(function, eval_str=True).parameters.values() if p.name != "overrides"]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    for name, (place, info) in fields.items():
        parameters.append(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_flag(place, info, panels))
        )
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__doc__ = function.__doc__
    command.__name__ = function.__name__
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _flag(place: str, info: Any, panels: bool) -> Any:
    names = list(NAMES.get(place, ("--" + place.rsplit(".", 1)[-1].replace("_", "-"),)))
    kind: Any = Optional[str]
    if _is_boolean(info.annotation):
        kind = Optional[bool]
        names = [f"{names[0]}/--no-{names[0][2:]}", *names[1:]]
    elif _is_several(info.annotation):
        kind = Optional[list[str]]
    section = place.split(".")[-2]
    return Annotated[
        kind,
        typer.Option(
            *names,
            help=f"{info.description or ''} [dim]({_default(info)})[/dim]"
            if not info.is_required()
            else info.description,
            metavar=None if kind is Optional[bool] else "|".join(named_choices(info)) or _metavar(info.annotation),
            show_default=False,
            rich_help_panel=section if panels else None,
        ),
    ]


def _default(info: Any) -> str:
    return f"default: {info.get_default(call_default_factory=True)}"


def _branches(annotation: Any) -> list[Any]:
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _branches(typing.get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [leaf for branch in typing.get_args(annotation) for leaf in _branches(branch)]
    return [annotation]


def _is_boolean(annotation: Any) -> bool:
    return bool in _branches(annotation)


def _is_several(annotation: Any) -> bool:
    branches = _branches(annotation)
    return str not in branches and any(typing.get_origin(branch) in (list, tuple, dict) for branch in branches)


def _metavar(annotation: Any) -> str:
    words = []
    for branch in _branches(annotation):
        origin = typing.get_origin(branch)
        if origin is Literal:
            words += [str(choice) for choice in typing.get_args(branch)]
        elif origin in (list, tuple):
            words.append("VALUE...")
        elif origin is dict and str not in _branches(annotation):
            words.append("KEY VALUE...")
        elif branch is not type(None) and origin is not dict:
            words.append({int: "INTEGER", float: "NUMBER", str: "TEXT"}.get(branch, "VALUE"))
    return "|".join(dict.fromkeys(words))


def read_value(place: str, annotation: Any, value: Any) -> Any:
    """Read a flag's text as the value that the document would hold there."""
    branches = _branches(annotation)
    optional = type(None) in branches
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if optional and value.lower() in {"none", "null"}:
            return None
        return value if str in branches else _yaml(place, value)
    texts = [str(item) for item in value]
    if len(texts) == 1:
        alone = _yaml(place, texts[0])
        if (
            alone is None
            or isinstance(alone, list | dict)
            or (isinstance(alone, str) and any(typing.get_origin(branch) is Literal for branch in branches))
        ):
            return alone
        if int in branches and isinstance(alone, int):
            return alone
    if any(typing.get_origin(branch) is dict for branch in branches):
        if len(texts) % 2:
            raise ConfigurationError(
                f"--{place.rsplit('.', 1)[-1].replace('_', '-')} needs pairs of a key and a value, or a JSON object"
            )
        return {key: _yaml(place, number) for key, number in zip(texts[::2], texts[1::2], strict=True)}
    return [_yaml(place, text) for text in texts]


def _yaml(place: str, text: str) -> Any:
    from groot_ray.yaml_text import parse_yaml

    return parse_yaml(f"value: {text}", f"flag for {place}")["value"]
