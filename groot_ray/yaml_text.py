"""Reads YAML 1.2: `1e-4` is a number, `yes` and `on` are text, and a repeated key is an error."""

from __future__ import annotations

from typing import Any

from groot_ray.errors import ConfigurationError


def parse_yaml(text: str, origin: str, needs: str = "experiment") -> dict[str, Any]:
    """Parse YAML text that holds a mapping.

    Args:
        origin: the file or flag, for errors.
        needs: a required key, named in the error about text that is not a mapping; not checked.

    Raises:
        ConfigurationError: not YAML, a repeated key, or not a mapping; the message names the line.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        data = YAML(typ="safe", pure=True).load(text)
    except DuplicateKeyError as error:
        key = str(error.problem).partition('"')[2].partition('"')[0]
        raise ConfigurationError(f"{origin}, {_line(error)}: key {key!r} is given twice; remove one of them") from None
    except MarkedYAMLError as error:
        raise ConfigurationError(f"{origin}, {_line(error)}: not valid YAML ({error.problem})") from None
    except (YAMLError, ValueError) as error:
        raise ConfigurationError(f"{origin} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise ConfigurationError(f"{origin} is empty or not a mapping; it needs at least the key {needs!r}")
    return data


def _line(error: Any) -> str:
    mark = error.problem_mark or error.context_mark
    return f"line {mark.line + 1}" if mark is not None else "somewhere"
