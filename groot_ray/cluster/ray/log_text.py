"""The text of a driver's log out of the job API's JSON answer, as a stream: memory does not grow with the log."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator

_OPENING = re.compile(r'\s*\{\s*"logs"\s*:\s*"')
_COMPLETE = re.compile(r'(?:[^"\\]+|\\u[0-9a-fA-F]{4}|\\[^u])*')  # the part of a JSON string that no chunk cuts in two


def text_after(chunks: Iterable[bytes], start: int) -> Iterator[str]:
    """Yield the text of `{"logs": "..."}` from character `start` on.

    Args:
        chunks: the answer's bytes, in chunks of any size.
        start: number of characters to skip.

    Raises:
        ValueError: the answer is something else, or is cut off.
    """
    skip = start
    for text in _strings(chunks):
        if skip >= len(text):
            skip -= len(text)
            continue
        yield text[skip:].encode("utf-8", "replace").decode()  # half a surrogate pair cannot be printed
        skip = 0


def _strings(chunks: Iterable[bytes]) -> Iterator[str]:
    """The JSON string of `logs`, unescaped, in pieces."""
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    rest, inside = "", False
    for chunk in chunks:
        rest += decode(chunk)
        if not inside:
            opening = _OPENING.match(rest)
            if opening is None and len(rest) < 64:
                continue
            if opening is None:
                break
            rest, inside = rest[opening.end() :], True
        text, end = _unescape(rest)
        if text:
            yield text
        if rest[end : end + 1] == '"':
            return
        rest = rest[end:]
    raise ValueError("the log is incomplete")


def _unescape(rest: str) -> tuple[str, int]:
    """The complete beginning of a JSON string's inside, unescaped, and its length before that."""
    complete = _COMPLETE.match(rest)
    assert complete is not None
    end = complete.end()
    text = str(json.loads(f'"{complete[0]}"', strict=False))
    ended = rest[end : end + 1] == '"'
    if not ended and text and "\ud800" <= text[-1] <= "\udbff":  # its second half comes with the next chunk
        return text[:-1], end - len(r"\ud800")
    return text, end
