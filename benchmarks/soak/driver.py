"""One run of the driver (`groot-ray run`): its process and its output."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from pathlib import Path

from benchmarks.soak.pipeline import STAGES

# In the output, these are never a sentence for people.
BROKEN = re.compile(r"Traceback \(most recent call last\)|Fatal Python error|\*\*\* SIG\w+ received|Segmentation fault")
LOSS = re.compile(r"step (\d+)/\d+: loss ([\d.naif-]+),")


class Driver:
    """A driver that runs or ran; `lines` has its output with the time of each line (`time.monotonic`)."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self.begun = time.monotonic()
        self.lines: list[tuple[float, str]] = []
        self.process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append((time.monotonic(), line.rstrip("\n")))

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def code(self) -> int | None:
        """The exit code; -N if signal N ended it."""
        return self.process.returncode

    def finish_reading(self) -> None:
        """Read the rest of the output; processes that stay may keep the pipe open, so not for long."""
        self._reader.join(2)

    def first(self, pattern: str) -> float | None:
        """When the first line that matches a regular expression was printed."""
        found = re.compile(pattern)
        return next((at for at, line in list(self.lines) if found.search(line)), None)

    def stage_begun(self, stage: str) -> float | None:
        """When a stage was begun; the first one begins with the process."""
        return self.begun if stage == STAGES[0] else self.first(rf"\b{stage}: (making|continuing) ")

    def losses(self) -> list[tuple[int, str]]:
        """Steps and losses as they were printed."""
        return [(int(match[1]), match[2]) for _, line in list(self.lines) if (match := LOSS.search(line))]

    def broken_lines(self) -> list[str]:
        """Lines that only a crash prints."""
        return [line for _, line in self.lines if BROKEN.search(line)]

    def text(self, last: int = 400) -> str:
        """The last lines, each with its second."""
        return "\n".join(f"{at - self.begun:7.2f} {line}" for at, line in self.lines[-last:])
