"""Limits on documents that people and programs write: their size, depth and texts. Far above what real ones need."""

from __future__ import annotations

from typing import Any

from groot_ray.errors import GrootRayError
from groot_ray.field_types import LONGEST_TEXT

DOCUMENT_BYTES = 2_000_000  # a list of 100,000 episodes has 1 MB
DOCUMENT_VALUES = 300_000  # values after aliases are replaced by what they stand for
DOCUMENT_KEYS = 20_000
DEPTH = 60  # mappings and lists within each other
JSON_BYTES = 512_000_000  # metadata and logs of long runs


def check_size(size: int, origin: str, error: type[GrootRayError], most: int = DOCUMENT_BYTES) -> None:
    """Raise `error` if a file or text has more than `most` bytes."""
    if size > most:
        raise error(f"{origin} has {size:,} bytes, more than the {most:,} that are read; make it smaller")


def check_values(data: Any, origin: str, error: type[GrootRayError]) -> None:
    """Check plain data: depth, number of keys and values, and that texts are short, valid and without NUL.

    Raises:
        GrootRayError: of the class `error`; the message names the limit.
    """
    values = keys = 0
    level = [data]
    for _ in range(DEPTH + 1):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                keys += len(value)
                below += [*value, *value.values()]
            elif isinstance(value, list | tuple):
                below += value
            elif isinstance(value, str):
                _check_text(value, origin, error)
            values += 1
            if keys > DOCUMENT_KEYS:
                raise error(f"{origin} has more than {DOCUMENT_KEYS:,} keys; leave out what is not an option")
            if values + len(below) > DOCUMENT_VALUES:
                raise error(f"{origin} has more than {DOCUMENT_VALUES:,} values; make it smaller")
        if not below:
            return
        level = below
    raise error(f"{origin} is nested more than {DEPTH} levels deep; make it flatter")


def _check_text(text: str, origin: str, error: type[GrootRayError]) -> None:
    if len(text) > LONGEST_TEXT:
        raise error(f"{origin} has a text of {len(text):,} characters ({text[:20]!r}...); at most {LONGEST_TEXT:,}")
    if "\0" in text:
        raise error(f"{origin} has a text with a NUL character ({text[:40]!r}); remove it")
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise error(f"{origin} has a text with half a character ({text[:40]!a}); write it as UTF-8") from None
