"""Progress of long-running work: a bar with rate and time left on a terminal, log lines elsewhere.

Listeners of a `Progress` (the status file in storage, a job's log) get the same numbers, so that bar, log and
`groot-ray status` never disagree.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

log = logging.getLogger(__name__)

Listener = Callable[["Snapshot"], None]

RATE_SECONDS = 60.0  # time over which a rate is measured
MARKS = 20  # ... and the least number of counts
MARK_SECONDS = 0.5  # counts closer together are merged


@dataclass(frozen=True)
class Snapshot:
    """Progress of some work: `done` of `total` units, `rate` in units per second, `remaining` seconds or None."""

    name: str
    done: float
    total: float | None
    unit: str
    rate: float
    remaining: float | None
    fields: dict[str, Any]

    def line(self) -> str:
        """One line of text for a log."""
        of = f"/{self.total:g}" if self.total is not None else ""
        left = f", {format_duration(self.remaining)} left" if self.remaining is not None else ""
        extra = "".join(f", {key} {format_value(value)}" for key, value in self.fields.items())
        return f"{self.name}: {self.done:g}{of} {self.unit}, {self.rate:.3g} {self.unit}/s{left}{extra}"


def format_duration(seconds: float) -> str:
    """Render a duration as ``1h02m``, ``3m05s`` or ``4.2s``."""
    if seconds >= 3600:
        return f"{int(seconds // 3600)}h{int(seconds % 3600 // 60):02d}m"
    if seconds >= 60:
        return f"{int(seconds // 60)}m{int(seconds % 60):02d}s"
    return f"{seconds:.1f}s"


def format_size(size: float) -> str:
    """Render a number of bytes as ``512 B``, ``1.5 MB`` or ``2.3 TB`` (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def format_value(value: Any) -> str:
    """Render a field of a log line: floats with four significant digits, others as text."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@dataclass
class Progress:
    """Counts units of work and notifies the listeners; created by `progress`.

    The rate covers the last minute, or the last 20 counts if they took longer, so that a slow start or a pause
    soon stops affecting it.
    """

    name: str
    total: float | None = None
    unit: str = "steps"
    listeners: list[Listener] = field(default_factory=list)
    done: float = 0.0
    fields: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._marks = deque([(time.monotonic(), self.done)])

    def advance(self, n: float = 1, **fields: Any) -> None:
        """Count `n` finished units; `fields` (loss, lr, samples/s ...) appear in the next line."""
        self.done += n
        self.fields.update(fields)
        self._mark()
        self._notify()

    def resume(self, done: float) -> None:
        """Start from `done` finished units; after a restart they may be fewer than were counted."""
        self.done = done
        self._marks = deque([(time.monotonic(), done)])
        self._notify()

    def note(self, **fields: Any) -> None:
        """Change the fields without counting a unit."""
        self.fields.update(fields)
        self._notify()

    def snapshot(self) -> Snapshot:
        """The current numbers."""
        at, before = self._marks[0]
        rate = (self.done - before) / max(time.monotonic() - at, 1e-9)
        remaining = None
        if self.total is not None and rate > 0:
            remaining = max(self.total - self.done, 0.0) / rate
        return Snapshot(self.name, self.done, self.total, self.unit, rate, remaining, dict(self.fields))

    def _mark(self) -> None:
        now = time.monotonic()
        if now - self._marks[-1][0] < MARK_SECONDS:
            return
        self._marks.append((now, self.done))
        while len(self._marks) > MARKS and self._marks[1][0] < now - RATE_SECONDS:
            self._marks.popleft()

    def _notify(self) -> None:
        state = self.snapshot()
        for listener in self.listeners:
            listener(state)


class LogListener:
    """Writes a log line every `interval` seconds, and one at the end."""

    def __init__(self, interval: float = 10.0) -> None:
        self.interval = interval
        self.last = time.monotonic() - interval + 2.0

    def __call__(self, state: Snapshot) -> None:
        now = time.monotonic()
        finished = state.total is not None and state.done >= state.total
        if finished or now - self.last >= self.interval:
            self.last = now
            log.info("%s", state.line())


@contextmanager
def progress(
    name: str,
    total: float | None = None,
    unit: str = "steps",
    listeners: list[Listener] | None = None,
    log_lines: bool = True,
) -> Iterator[Progress]:
    """Context manager that counts work under `name`: a bar if stderr is a terminal, else a log line every ten seconds.

    `log_lines=False` is for work that writes its own log lines.
    """
    work = Progress(name, total, unit, list(listeners or []))
    if not sys.stderr.isatty():
        if log_lines:
            work.listeners.append(LogListener())
        yield work
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[extra]}"),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=total, rate="", extra="")

        def show(state: Snapshot) -> None:
            extra = "  ".join(f"{key} {format_value(value)}" for key, value in state.fields.items())
            bar.update(task, total=state.total, completed=state.done, rate=f"{state.rate:.3g} {unit}/s", extra=extra)

        work.listeners.append(show)
        yield work
