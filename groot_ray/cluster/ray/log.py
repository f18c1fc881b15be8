"""A driver's log as it grows, from Ray's job API.

That API only knows to send the whole log as one JSON string, so it is read as a stream: what has been given out is skipped in pieces, and
memory does not grow with the log.
"""

from __future__ import annotations

import codecs
import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from groot_ray.errors import ServiceUnavailableError

if TYPE_CHECKING:
    from groot_ray.cluster.ray.jobs import RayJobs

log = logging.getLogger(__name__)

SHARE = 0.05  # of the time that may go to reading a log, which Ray's head has to send from its beginning each time
LONGEST = 30.0  # seconds between two looks, however long the log is
LAST_TRIES, LAST_PAUSE = 4, 2.0  # for the last look, which has the reason of a failure; seconds between them

_OPENING = re.compile(r'\s*\{\s*"logs"\s*:\s*"')
_WHOLE = re.compile(r'(?:[^"\\]+|\\u[0-9a-fA-F]{4}|\\[^u])*')  # of a JSON string: nothing that is cut in two


class FollowedLog:
    """The log of one submission: `look` gives what was written since the last look to `say`, piece by piece."""

    def __init__(self, submission: str, say: Callable[[str], object]) -> None:
        self.submission = submission
        self.said = 0  # characters
        self._say = say
        self._next = 0.0
        self._trouble = ""

    def look(self, jobs: RayJobs, last: bool = False) -> None:
        """Read on; a long log is read less often, unless this is the `last` look. A log that cannot be had is told, no more."""
        if time.monotonic() < self._next and not last:
            return
        for tries_left in reversed(range(LAST_TRIES if last else 1)):
            try:
                took = self._read_on(jobs)
            except ServiceUnavailableError as error:
                if str(error) != self._trouble:
                    self._trouble = str(error)
                    log.warning("the driver's log cannot be read now: %s", error)
                if tries_left:
                    time.sleep(LAST_PAUSE)
            else:
                self._next = time.monotonic() + min(took * (1 / SHARE - 1), LONGEST)
                return

    def _read_on(self, jobs: RayJobs) -> float:
        """Give out what is new; returns the seconds that its transfer took, without those in which it was said."""
        pieces, took = jobs.log(self.submission, self.said), 0.0
        while True:
            begun = time.monotonic()
            piece = next(pieces, None)
            took += time.monotonic() - begun
            if piece is None:
                return took
            self.said += len(piece)
            self._say(piece)


def text_after(chunks: Iterable[bytes], start: int) -> Iterator[str]:
    """The text of `{"logs": "..."}` from its character `start` on, from the answer's bytes in chunks of any size.

    Raises:
        ValueError: the answer is something else, or is cut off.
    """
    skip = start
    for text in _strings(chunks):
        if skip >= len(text):
            skip -= len(text)
            continue
        yield text[skip:].encode("utf-8", "replace").decode()  # half a surrogate pair could not be printed
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
        whole = _WHOLE.match(rest)
        assert whole is not None
        end = whole.end()
        ended = rest[end : end + 1] == '"'
        text = json.loads(f'"{whole[0]}"', strict=False)
        if not ended and text and "\ud800" <= text[-1] <= "\udbff":  # its second half comes with the next chunk
            text, end = text[:-1], end - len(r"\ud800")
        if text:
            yield text
        if ended:
            return
        rest = rest[end:]
    raise ValueError("no whole log")
