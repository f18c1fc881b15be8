"""Reads an experiment file: YAML in, a checked document out; each error is one sentence that names the key.

A document has ``experiment:`` and may have ``cluster:`` and ``global:`` beside it (so that the same file is a chart's
values).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from groot_ray.errors import ConfigurationError
from groot_ray.experiment.cluster import ClusterOptions
from groot_ray.experiment.schema import Experiment, Strict
from groot_ray.input_limits import check_size, check_values
from groot_ray.schema_errors import explain
from groot_ray.yaml_text import parse_yaml


class Document(Strict):
    """A whole experiment file."""

    experiment: Experiment
    cluster: ClusterOptions | None = Field(
        None, description="where the stages run; used by submit, the Helm chart and the Jobs"
    )
    global_: dict[str, Any] | None = Field(None, alias="global", description="Helm's values for sub-charts; not used")


def load_document(path: str | Path, overrides: dict[str, Any] | None = None) -> Document:
    """Read and check an experiment file.

    `overrides` maps dotted names (``training.max_steps``) to values, as from flags; they override the file. A
    relative embodiment path or source folder is resolved against the file's folder if it exists there.

    Raises:
        ConfigurationError: the file is missing, is not YAML, or breaks the schema; the message names the key.
    """
    file = Path(path)
    try:
        check_size(file.stat().st_size, f"experiment file {str(path)!r}", ConfigurationError)
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(
            f"experiment file {str(path)!r} does not exist; see examples/ for ones to start from"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"experiment file {str(path)!r} cannot be read: {error}") from None
    data = parse_yaml(text, str(path))
    _resolve_paths(data, file.resolve().parent)
    return build_document(data, overrides, str(path))


def build_document(
    data: dict[str, Any], overrides: dict[str, Any] | None = None, origin: str = "experiment"
) -> Document:
    """Check a mapping against the schema after applying `overrides` (dotted names)."""
    for dotted, value in (overrides or {}).items():
        _set_dotted(data, dotted, value)
    check_values(data, origin, ConfigurationError)
    try:
        return Document.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError(f"{origin}: {explain(error, Document)}") from None


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
    """Make relative paths absolute if they exist beside the file; others stay relative to the working directory."""
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
