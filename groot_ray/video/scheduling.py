"""Undoes a side effect of SVT-AV1 on the scheduling of the process that encodes with it.

As root, its library makes the thread that opens an encoder, and its own threads, real-time threads
(SCHED_FIFO, priority 99). Everything that this thread starts later inherits this, even Ray, and starves all else on
the machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TASKS = Path("/proc/self/task")


@contextmanager
def kept_scheduling() -> Iterator[None]:
    """Context manager that resets threads made real-time in the block to the caller's scheduling; Linux only."""
    if not _TASKS.is_dir():
        yield
        return
    before = _policies()
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for thread, now in _policies().items():
            if now in (os.SCHED_FIFO, os.SCHED_RR) and now != before.get(thread, policy):
                with suppress(ProcessLookupError):  # the thread has ended meanwhile
                    os.sched_setscheduler(thread, policy, parameters)


def _policies() -> dict[int, int]:
    """Scheduling policy of each thread of this process."""
    found = {}
    for entry in _TASKS.iterdir():
        with suppress(ProcessLookupError):
            found[int(entry.name)] = os.sched_getscheduler(int(entry.name))
    return found
