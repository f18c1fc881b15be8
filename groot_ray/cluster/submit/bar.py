"""A progress bar for work elsewhere, and the statuses that feed it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from groot_ray.cluster.status.newest import newest_work, stage_names
from groot_ray.cluster.status.progress import progress_line
from groot_ray.errors import GrootRayError
from groot_ray.storage.location import Location
from groot_ray.storage.status import read_status


class Bar:
    """A progress bar for work elsewhere, fed by `status.json` in storage."""

    def __init__(self, root: Location) -> None:
        self.root = root
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[line]}"),
            console=Console(stderr=True),
        )
        self.task = self.bar.add_task("waiting", total=None, line="")
        self.bar.start()
        self.looked = 0.0
        self.begun = ""  # beginning of an incomplete line

    def update(self) -> None:
        """Read the status at most every three seconds."""
        if time.monotonic() - self.looked < 3:
            return
        self.looked = time.monotonic()
        try:
            for stage, status in reversed(list(statuses(self.root))):
                if status and status.get("state") == "running":
                    self.bar.update(
                        self.task,
                        description=stage,
                        total=status.get("total"),
                        completed=status.get("done", 0),
                        line=progress_line(status),
                    )
                    return
        except GrootRayError:
            return

    def say(self, text: str) -> None:
        """Print text above the bar, line by line."""
        lines, newline, self.begun = (self.begun + text).rpartition("\n")
        if newline:
            self.bar.console.print(lines, markup=False, highlight=False)

    def close(self) -> None:
        """Print what is left, and remove the bar."""
        if self.begun:
            self.say("\n")
        self.bar.stop()


def statuses(root: Location) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """(stage, status) of the newest work of each stage."""
    for stage in stage_names(root):
        folder = newest_work(root, stage)
        if folder is not None:
            yield stage, read_status(folder)
