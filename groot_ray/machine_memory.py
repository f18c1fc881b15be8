"""How much memory this process may use, and the error of one that asked for more."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from groot_ray.errors import ConfigurationError

CGROUPS = Path("/sys/fs/cgroup")
# torch (on the CPU) and Python's threads report failed allocations as RuntimeError; only the text tells them apart.
FAILED_ALLOCATIONS = ("out of memory", "not enough memory", "can't allocate memory", "can't start new thread")
OWN_GROUPS = Path("/proc/self/cgroup")


def memory_limit(groups: Path = CGROUPS, own: Path = OWN_GROUPS) -> int:
    """Bytes of memory that this process can have: the least of machine, cgroup (v1 and v2) and `ulimit -v`.

    `groups` and `own` are where Linux shows cgroups and those of this process.
    """
    import psutil

    limits = [int(psutil.virtual_memory().total), *cgroup_limits(groups, own)]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits.append(soft)
    return min(limits)


@contextmanager
def out_of_memory(advice: str) -> Iterator[None]:
    """Turn a failed allocation, on the CPU or a GPU, into a `ConfigurationError`; also a decorator.

    An attempt again with the same options would fail in the same way.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if not isinstance(error, MemoryError) and not any(sign in text for sign in FAILED_ALLOCATIONS):
            raise
        what = " ".join(text.split())[:200] or "an allocation failed"
        raise ConfigurationError(f"out of memory ({what}); {advice}") from error


def cgroup_limits(groups: Path, own: Path) -> Iterator[int]:
    """Limits of the groups that this process is in, in bytes; none where they cannot be read."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in ("0::/", "0:memory:/", *lines):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, name = groups, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = groups / "memory", "memory.limit_in_bytes"
        else:
            continue
        folder = Path(path.lstrip("/"))
        for inner in (folder, *folder.parents):
            text = _read(root / inner / name)
            if text.isdigit():
                yield int(text)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError:
        return ""
