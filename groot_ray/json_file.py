"""Reads JSON: local files (for files in storage, see `storage.Location.read_json`) and texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from groot_ray.errors import DataError, GrootRayError
from groot_ray.input_limits import JSON_BYTES, check_size


def read_json(file: Path, advice: str = "", error: type[GrootRayError] = DataError) -> Any:
    """Read a JSON file.

    Args:
        advice: what to do about a missing or broken file, for the error.
        error: what to raise: `DataError`, or `ConfigurationError` if the user named the file.
    """
    end = f"; {advice}" if advice else ""
    try:
        check_size(file.stat().st_size, str(file), error, JSON_BYTES)
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise error(f"{file} is missing{end}") from None
    except UnicodeDecodeError as problem:
        raise error(f"{file} is not valid JSON ({problem}){end}") from None
    except OSError as problem:
        raise error(f"{file} cannot be read ({problem.strerror}){end}") from None
    return parse_json(text, str(file), advice, error)


def parse_json(text: str, origin: str, advice: str = "", error: type[GrootRayError] = DataError) -> Any:
    """Parse a JSON text.

    Args:
        origin: the file, for errors.
        advice, error: as in `read_json`.
    """
    end = f"; {advice}" if advice else ""
    try:
        return json.loads(text)
    except json.JSONDecodeError as problem:
        raise error(f"{origin} is not valid JSON ({problem.msg}, line {problem.lineno}){end}") from None
    except RecursionError:
        raise error(f"{origin} is not valid JSON (it is nested too deeply){end}") from None
    except ValueError as problem:  # a number with thousands of digits
        raise error(f"{origin} is not valid JSON ({str(problem).partition(';')[0]}){end}") from None


def read_json_object(file: Path, advice: str = "", error: type[GrootRayError] = DataError) -> dict[str, Any]:
    """Read a JSON file that holds an object; see `read_json`."""
    content = read_json(file, advice, error)
    if not isinstance(content, dict):
        end = f"; {advice}" if advice else ""
        raise error(f"{file} holds a {type(content).__name__}, expected a JSON object{end}")
    return content
