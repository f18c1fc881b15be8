"""Write the generated files of the chart: values.yaml, values.schema.json and README.md come from the Python schema.

usage: python charts/generate.py [--check]      (--check writes nothing and fails if a file is out of date)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from groot_ray import __version__
from groot_ray.experiment.cluster import ClusterOptions, StageOptions
from groot_ray.experiment.document import Document

CHART = Path(__file__).resolve().parent / "groot-experiment"


def values_schema() -> dict[str, Any]:
    """The document's JSON schema in the dialect that both Helm 3 and Helm 4 read (draft 7)."""
    schema = Document.model_json_schema(by_alias=True)
    schema["properties"]["cluster"] = {"$ref": "#/$defs/ClusterOptions"}
    schema["required"] = ["experiment", "cluster"]
    _require(ClusterOptions, schema["$defs"])
    schema = _draft7(schema)
    schema["$schema"] = "http://json-schema.org/draft-07/schema#"
    schema["title"] = "groot-experiment"
    return schema


def _require(options: type[BaseModel], definitions: dict[str, Any]) -> None:
    """Let the schema of `options`, and of all in them, require what may not be null: Helm takes a key that is null out of the defaults."""
    needed = []
    for name, info in options.model_fields.items():
        inner = info.annotation
        if NoneType not in get_args(inner):
            needed.append(name)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            _require(inner, definitions)
    definitions[options.__name__]["required"] = needed


def _draft7(node: Any) -> Any:
    if isinstance(node, list):
        return [_draft7(item) for item in node]
    if not isinstance(node, dict):
        return node
    result: dict[str, Any] = {}
    for key, value in node.items():
        if key in ("discriminator", "operational"):
            continue
        if key == "$defs":
            result["definitions"] = {name: _draft7(inner) for name, inner in value.items()}
        elif key == "prefixItems":
            result["items"] = _draft7(value)
            result["additionalItems"] = False
        elif key == "$ref":
            result[key] = value.replace("#/$defs/", "#/definitions/")
        elif key == "properties":  # names of options, one of which could be called like a keyword
            result[key] = {name: _draft7(inner) for name, inner in value.items()}
        else:
            result[key] = _draft7(value)
    if "patternProperties" in result and "additionalProperties" not in result:
        result["additionalProperties"] = False
    if "$ref" in result and len(result) > 1:  # draft 7 ignores what stands beside a reference
        result = {"allOf": [{"$ref": result.pop("$ref")}], **result}
    return result


def values_yaml() -> str:
    """The defaults of `cluster:` with the schema's descriptions as comments."""
    lines = [
        "# Values of groot-experiment. The file is an experiment document: `experiment:` as for `groot-ray run`, and `cluster:`.",
        "# Made by charts/generate.py from groot_ray/experiment; options without a default are named in comments.",
        "# experiment: {name, source, embodiment, ...} has to be given; docs/reference.md and examples/ show it.",
        "cluster:",
    ]
    lines += _commented(ClusterOptions(), 1)
    return "\n".join(lines) + "\n"


def _commented(options: BaseModel, depth: int) -> list[str]:
    pad = "  " * depth
    lines: list[str] = []
    for name, info in type(options).model_fields.items():
        value = getattr(options, name)
        about = info.description or (_summary(type(value)) if isinstance(value, BaseModel) else "")
        if about:
            lines.append(f"{pad}# {about}")
        if isinstance(value, BaseModel):
            lines += [f"{pad}{name}:", *_commented(value, depth + 1)]
        elif isinstance(value, dict) and value and all(isinstance(item, StageOptions) for item in value.values()):
            lines.append(f"{pad}{name}:")
            for key, stage in value.items():
                lines.append(f"{pad}  {key}:")
                lines += [f"{pad}    {line}" for line in _plain(stage.model_dump(exclude_none=True))]
        elif value is None:
            lines.append(f"{pad}# {name}:")
        elif value in ({}, []) or not isinstance(value, dict | list):
            lines.append(f"{pad}{name}: {json.dumps(value)}")
        else:
            lines += [f"{pad}{name}:", *[f"{pad}  {line}" for line in _plain(value)]]
    return lines


def _plain(value: Any) -> list[str]:
    return yaml.safe_dump(value, sort_keys=False, width=200).rstrip("\n").split("\n")


def _summary(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def readme() -> str:
    """The chart's README with a table of all values."""
    text = (CHART / "README.head.md").read_text(encoding="utf-8").rstrip("\n").replace("VERSION", __version__)
    lines = [text, "", "## Values", "", "| value | default | meaning |", "|---|---|---|"]
    lines.append("| `experiment` | required | the experiment, exactly as for `groot-ray run` (docs/reference.md) |")
    lines += _rows("cluster", ClusterOptions())
    return "\n".join(lines) + "\n"


def _rows(place: str, options: BaseModel) -> list[str]:
    rows: list[str] = []
    for name, info in type(options).model_fields.items():
        value = getattr(options, name)
        if isinstance(value, BaseModel) and not (isinstance(options, ClusterOptions) and not type(value).model_fields):
            rows += _rows(f"{place}.{name}", value)
            continue
        if isinstance(value, dict) and value and all(isinstance(item, StageOptions) for item in value.values()):
            rows.append(f"| `{place}.{name}` | {', '.join(value)} | {info.description} |")
            for field, about in StageOptions.model_fields.items():
                rows.append(f"| `{place}.{name}.<stage>.{field}` | | {about.description} |")
            continue
        shown = "" if value is None else f"`{json.dumps(value)}`".replace("|", "\\|")
        rows.append(f"| `{place}.{name}` | {shown} | {info.description} |")
    return rows


def chart_yaml() -> str:
    """Chart.yaml with the package's version."""
    return (
        "apiVersion: v2\nname: groot-experiment\n"
        "description: One GR00T experiment - download, convert, finetune, evaluate - as a release on Ray and object storage\n"
        f'type: application\nversion: {__version__}\nappVersion: "{__version__}"\nkubeVersion: ">=1.29.0-0"\n'
        "keywords: [robotics, groot, ray, finetuning]\n"
        "annotations:\n  artifacthub.io/license: Apache-2.0\n"
    )


def files() -> dict[str, str]:
    """The generated files by name."""
    return {
        "Chart.yaml": chart_yaml(),
        "values.yaml": values_yaml(),
        "values.schema.json": json.dumps(values_schema(), indent=1, ensure_ascii=False) + "\n",
        "README.md": readme(),
    }


def main(arguments: list[str]) -> int:
    """Write or check the files; returns the exit code."""
    stale = []
    for name, text in files().items():
        path = CHART / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in arguments:
                path.write_text(text, encoding="utf-8")
    if stale:
        print(("out of date: " if "--check" in arguments else "written: ") + ", ".join(stale))
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
