"""Reads local JSON files; for files in storage, see `storage.Location.read_json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from groot_ray.errors import DataError, GrootRayError


def read_json(file: Path, advice: str = "", error: type[GrootRayError] = DataError) -> Any:
    """Read a JSON file.

    Args:
        advice: what to do about a missing or broken file, for the error.
        error: what to raise: `DataError`, or `ConfigurationError` if the user named the file.
    """
    end = f"; {advice}" if advice else ""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise error(f"{file} is missing{end}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as problem:
        raise error(f"{file} is not valid JSON ({problem}){end}") from None
    except OSError as problem:
        raise error(f"{file} cannot be read ({problem.strerror}){end}") from None


def read_json_object(file: Path, advice: str = "", error: type[GrootRayError] = DataError) -> dict[str, Any]:
    """Read a JSON file that holds an object; see `read_json`."""
    content = read_json(file, advice, error)
    if not isinstance(content, dict):
        end = f"; {advice}" if advice else ""
        raise error(f"{file} holds a {type(content).__name__}, expected a JSON object{end}")
    return content
