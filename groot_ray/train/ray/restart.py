"""When to restart lost workers: as long as the run makes progress between failures."""

from __future__ import annotations

FAILURES = 3  # in a row, without a new checkpoint between them


def count_failures(failures: int, before: int, reached: int) -> int:
    """Number of failures in a row, including the one that has just happened.

    Args:
        failures: the count so far.
        before: the step from which the workers resumed.
        reached: the step from which they would resume now.
    """
    return failures + 1 if reached == before else 1


def may_restart(failures: int) -> bool:
    """Whether to restart the workers after this many failures in a row."""
    return failures < FAILURES
