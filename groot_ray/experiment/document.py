"""Reading an experiment file: YAML in, a checked document out, every mistake told in one sentence with its place.

A document has ``experiment:`` and may have ``cluster:`` and ``global:`` beside it (so that the same file is a chart's values).
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from groot_ray.errors import ConfigurationError, did_you_mean
from groot_ray.experiment.cluster import ClusterOptions
from groot_ray.experiment.schema import Experiment, Strict


class Document(Strict):
    """A whole experiment file."""

    experiment: Experiment
    cluster: ClusterOptions | None = Field(
        None, description="where the stages run; used by submit, the Helm chart and the Jobs"
    )
    global_: dict[str, Any] | None = Field(None, alias="global", description="Helm's values for sub-charts; not used")


def load_document(path: str | Path, overrides: dict[str, Any] | None = None) -> Document:
    """Read and check an experiment file.

    `overrides` maps dotted names (``training.max_steps``) to values, as flags give them; they win over the file. A relative
    embodiment path or source folder is resolved against the file's own folder when it exists there.

    Raises:
        ConfigurationError: the file is missing, is no YAML, or breaks the schema; the sentence names the key.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(
            f"experiment file {str(path)!r} does not exist; see examples/ for ones to start from"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"experiment file {str(path)!r} cannot be read: {error}") from None
    data = parse_yaml(text, str(path))
    _resolve_paths(data, file.resolve().parent)
    return build_document(data, overrides, str(path))


def parse_yaml(text: str, origin: str, needs: str = "experiment") -> dict[str, Any]:
    """Parse YAML text into a mapping; `origin` and the key that it `needs` are named in errors."""
    import yaml

    try:
        data = yaml.load(text, Loader=_loader())
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{origin} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise ConfigurationError(f"{origin} is empty or not a mapping; it needs at least the key {needs!r}")
    return data


def _loader() -> Any:
    """A safe YAML loader that reads 1e-4 as a number (YAML 1.1 wants 1.0e-4) and refuses a key given twice."""
    import re

    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key_node, _ in node.value:
                key = self.construct_object(key_node, deep=True)
                if isinstance(key, str) and key in seen and key != "<<":
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key!r} is given twice", key_node.start_mark
                    )
                if isinstance(key, str):
                    seen.add(key)
            return super().construct_mapping(node, deep)

    number = re.compile(r"^[-+]?([0-9][0-9_]*)(\.[0-9_]*)?([eE][-+]?[0-9]+)$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789"))
    return Loader


def build_document(
    data: dict[str, Any], overrides: dict[str, Any] | None = None, origin: str = "experiment"
) -> Document:
    """Check a mapping against the schema after applying `overrides` (dotted names)."""
    for dotted, value in (overrides or {}).items():
        _set_dotted(data, dotted, value)
    try:
        return Document.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError(f"{origin}: {explain(error, Document)}") from None


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Put a pydantic error into sentences: the key, what is wrong with it, and the nearest known key."""
    sentences: list[str] = []
    told: set[tuple[Any, ...]] = set()
    for item in error.errors(include_url=False):
        place = tuple(part for part in item["loc"] if not _is_union_branch(part))
        if place in told:  # a union tells of each of its branches
            continue
        told.add(place)
        name = ".".join(str(part) for part in place)
        if item["type"] == "extra_forbidden":
            known = _fields_at(model, place[:-1])
            sentences.append(f"unknown key {name!r}{did_you_mean(str(place[-1]), known)}")
        elif item["type"] == "missing":
            sentences.append(f"{name!r} is missing")
        elif item["type"] in ("model_type", "model_attributes_type"):
            given = item.get("input")
            what = "is empty" if given is None else f"is {given!r}"
            sentences.append(f"{name!r} {what}; it takes keys and values, or is left out")
        else:
            message = item["msg"].removeprefix("Value error, ")
            message = message[:1].lower() + message[1:]
            given = item.get("input")
            shown = "" if isinstance(given, dict | list) else f" (given: {given!r})"
            if item["type"] == "string_type" and isinstance(given, int | float | date):
                shown += "; put it in quotes"
            sentences.append(f"{name!r}: {message}{shown}" if name else message)
    return "; ".join(sentences)


def _is_union_branch(part: Any) -> bool:
    """Whether pydantic added this part of a place to tell the branches of a union apart."""
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
    """Names of the fields that the schema knows at a place."""
    current: Any = model
    for part in place:
        if isinstance(part, int):  # position in a list; the list's items were looked up by its name
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


def _set_dotted(data: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    node = data
    for part in parents:
        child = node.get(part)
        if not isinstance(child, dict):
            child = node[part] = {}
        node = child
    node[last] = value


def _resolve_paths(data: dict[str, Any], folder: Path) -> None:
    """Make relative paths of the file absolute where they exist beside it; others stay relative to the working directory."""
    experiment = data.get("experiment")
    if not isinstance(experiment, dict):
        return

    def resolved(value: Any) -> Any:
        if (
            isinstance(value, str)
            and "://" not in value
            and not Path(value).is_absolute()
            and (folder / value).exists()
        ):
            return str(folder / value)
        return value

    source = experiment.get("source")
    if isinstance(source, dict) and "uri" in source:
        source["uri"] = resolved(source["uri"])
    embodiment = experiment.get("embodiment")
    if isinstance(embodiment, str) and embodiment.endswith((".yaml", ".yml")):
        experiment["embodiment"] = resolved(embodiment)
    for section, keys in (("model", ("base", "tokenizer")), ("training", ("modality_config_path",))):
        options = experiment.get(section)
        if isinstance(options, dict):
            for key in keys:
                if key in options:
                    options[key] = resolved(options[key])
