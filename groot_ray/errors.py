"""Errors with a message for the user and the process exit code that says whether to retry.

Each message is one sentence: what is wrong, where (dataset, episode, column, URI), and what to do.
Code, the Kubernetes Jobs' pod failure policy and the documentation share this table of exit codes:

==== =============================================  =======
code meaning                                        retried
==== =============================================  =======
0    done                                           -
2    the command line is wrong                      no
64   the user's configuration is wrong              no
     (also a full disk: a person has to free space)
65   the data is wrong                              no
66   a predecessor stage failed                     no
70   stopped by a person                            no
1    unexpected                                     yes
69   a service is unavailable (storage, hub, Ray)   yes
75   a temporary failure (lost lease, lost worker)  yes
==== =============================================  =======
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_MESSAGE = 2000  # bytes of UTF-8


class GrootRayError(Exception):
    """Base of all errors whose message is for the user; `exit_code` is the exit code of the process.

    Its text has at most `LONGEST_MESSAGE` bytes, whatever the input that it quotes.
    """

    exit_code = 1

    def __str__(self) -> str:
        return shortened(super().__str__())


class ConfigurationError(GrootRayError):
    """The experiment, a flag or the environment is wrong; a retry does not help."""

    exit_code = 64


class DataError(GrootRayError):
    """A dataset, video, checkpoint or statistics file is wrong; a retry does not help."""

    exit_code = 65


class PredecessorFailedError(GrootRayError):
    """The stage whose output this one needs has failed for good."""

    exit_code = 66


class ServiceUnavailableError(GrootRayError):
    """Object storage, the hub or a Ray cluster did not answer; a retry may help."""

    exit_code = 69


class StoppedError(GrootRayError):
    """The user stopped the work."""

    exit_code = 70


class TemporaryFailureError(GrootRayError):
    """The attempt lost its lease or its workers; another attempt can continue its work."""

    exit_code = 75


def shortened(text: str, most: int = LONGEST_MESSAGE) -> str:
    """Return a text of at most `most` bytes; what is cut out of its middle is counted."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= most:
        return text
    room = most - 60
    start = data[: room * 2 // 3].decode("utf-8", "ignore")
    end = data[-(room // 3) :].decode("utf-8", "ignore")
    return f"{start} ... ({len(text) - len(start) - len(end):,} more characters) ... {end}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``' (did you mean X?)'`` for the closest match in `known`, or an empty string if none is close."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""
