"""The processes of a trial, read from /proc.

The trial makes itself the reaper of its orphans, so every process that descends from it stays below it, whatever
sessions Ray opens and whoever dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36

# A process's role by what its command line holds; the first match counts.
ROLES = (
    ("raylet", "/raylet/raylet"),
    ("gcs", "/gcs/gcs_server"),
    ("controller", "ray::TrainController"),
    ("train worker", "ray::RayTrainWorker"),
    ("train worker", "ray::_RayTrainWorker"),
    ("idle worker", "ray::IDLE"),
    ("convert worker", "ray::ReadRange"),
    ("convert worker", "ray::Map"),
    ("convert worker", "ray::MapBatches"),
    ("agent", "ray::DashboardAgent"),
    ("agent", "ray::RuntimeEnvAgent"),
    ("other actor", "ray::"),
    ("starting worker", "default_worker.py"),
)


@dataclass(frozen=True)
class Found:
    """A process that runs: its parent, when it was started (clock ticks since boot), and its command line."""

    pid: int
    parent: int
    started: int
    command: str

    @property
    def role(self) -> str:
        """Its part in Ray, or `other`."""
        return next((role for role, text in ROLES if text in self.command), "other")

    def signal(self, number: int) -> bool:
        """Send a signal; False if the process has ended meanwhile."""
        try:
            handle = os.pidfd_open(self.pid)
        except OSError:
            return False
        try:
            if (now := read_process(self.pid)) is None or now.started != self.started:
                return False
            signal.pidfd_send_signal(handle, number)
        except OSError:
            return False
        finally:
            os.close(handle)
        return True


def adopt_orphans() -> None:
    """Make this process the parent of orphans among its descendants, and end it with its own parent."""
    library = ctypes.CDLL(None)
    library.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    library.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def read_process(pid: int) -> Found | None:
    """A process; None if it has ended (also if nobody has waited for it yet)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (OSError, ValueError):
        return None
    return None if fields[0] in "ZX" else Found(pid, int(fields[1]), int(fields[19]), command)


def descendants(besides: set[int]) -> list[Found]:
    """The running descendants of this process, without those of the processes `besides`."""
    every = [found for entry in os.listdir("/proc") if entry.isdigit() and (found := read_process(int(entry)))]
    children: dict[int, list[Found]] = {}
    for found in every:
        children.setdefault(found.parent, []).append(found)
    below: list[Found] = []
    open_ends = [os.getpid()]
    while open_ends:
        for child in children.get(open_ends.pop(), []):
            if child.pid not in besides:
                below.append(child)
                open_ends.append(child.pid)
    return below


def reap(own: set[int]) -> None:
    """Wait for adopted processes that have ended; those in `own` are waited for by their `Popen`."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) in own:
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            if fields[0] == "Z" and int(fields[1]) == os.getpid():
                os.waitpid(int(entry), os.WNOHANG)
