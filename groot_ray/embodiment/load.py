"""Loads a description from a preset, a YAML file or a mapping, and writes one as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from groot_ray.embodiment.schema import Embodiment
from groot_ray.errors import ConfigurationError, did_you_mean
from groot_ray.input_limits import check_size, check_values
from groot_ray.schema_errors import explain
from groot_ray.yaml_text import parse_yaml


def preset_names() -> list[str]:
    """Names of the presets that come with the package, sorted."""
    folder = files("groot_ray.embodiment") / "presets"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_embodiment(spec: str | Path | Mapping[str, Any] | Embodiment, tag: str | None = None) -> Embodiment:
    """Read and check a description.

    Args:
        spec: a preset's name, the path of a YAML file, or the description as a mapping. A mapping or file may name a
            preset under ``preset`` and replace some of its keys.
        tag: embodiment tag that overrides the description's own.

    Raises:
        ConfigurationError: there is no such preset or file, or the description breaks a rule.
    """
    if isinstance(spec, Embodiment):
        data, origin = spec.to_json(), f"embodiment {spec.name!r}"
    elif isinstance(spec, Mapping):
        data, origin = dict(spec), f"embodiment {spec.get('name', spec.get('preset', 'given inline'))!r}"
    else:
        data, origin = _find(spec)
    if "preset" in data:
        base, _ = _preset(str(data.pop("preset")))
        data = {**base, **data}
    if tag is not None:
        data["tag"] = tag
    check_values(data, origin, ConfigurationError)
    try:
        return Embodiment.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError(f"{origin}: {explain(error, Embodiment)}") from None


def _find(spec: str | Path) -> tuple[dict[str, Any], str]:
    text = str(spec)
    if isinstance(spec, str) and spec in preset_names():
        return _preset(spec)
    path = Path(spec).expanduser()
    if path.is_file():
        return _parse(_text_of(path), text), f"embodiment file {text!r}"
    if isinstance(spec, Path) or path.suffix in (".yaml", ".yml") or "/" in text:
        raise ConfigurationError(f"embodiment file {text!r} does not exist; presets are {', '.join(preset_names())}")
    return _preset(text)


def _text_of(path: Path) -> str:
    try:
        check_size(path.stat().st_size, f"embodiment file {str(path)!r}", ConfigurationError)
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"embodiment file {str(path)!r} cannot be read: {error}") from None


def _preset(name: str) -> tuple[dict[str, Any], str]:
    names = preset_names()
    if name not in names:
        raise ConfigurationError(
            f"there is no embodiment preset {name!r}{did_you_mean(name, names)}; presets are {', '.join(names)}, "
            "or give the path of a YAML description"
        )
    text = (files("groot_ray.embodiment") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    return _parse(text, f"preset {name}"), f"embodiment preset {name!r}"


def _parse(text: str, origin: str) -> dict[str, Any]:
    return parse_yaml(text, origin, needs="name")


def to_yaml(embodiment: Embodiment) -> str:
    """The description as YAML text: one line for each camera and component, defaults left out."""
    data = embodiment.model_dump(mode="json", exclude_defaults=True)
    for camera in data["cameras"]:
        if camera["feature"] == f"observation.images.{camera['key']}":
            del camera["feature"]
    for part, column in (("state", "observation.state"), ("action", "action")):
        for component in data[part]:
            _leave_out_derived(component, column)
    lines = []
    for key, value in data.items():
        if isinstance(value, list):
            lines.append(f"{key}:")
            lines.extend(f"  - {_flow(item)}" for item in value)
        else:
            lines.append(_block({key: value}))
    return "\n".join(lines) + "\n"


def _leave_out_derived(component: dict[str, Any], default_column: str) -> None:
    """Remove keys that loading the description fills in again."""
    if component.get("column") == default_column:
        del component["column"]
    if "start" in component and component["dims"] == component["end"] - component["start"]:
        del component["dims"]


def _flow(value: Any) -> str:
    import yaml

    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000).strip()


def _block(value: dict[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10_000).strip()
