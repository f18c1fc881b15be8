"""Explains errors of the operating system that a person can mend: a full disk, a read-only folder, a missing one."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from groot_ray.errors import ConfigurationError

OPEN_FILES = "this process may not open more files; raise the limit (ulimit -n)"
# What is wrong with a path, and what to do; the path stands before it.
REASONS = {
    errno.ENOSPC: "cannot be written: the disk is full; free up space or choose another folder",
    errno.EDQUOT: "cannot be written: the disk is full; free up space or choose another folder",
    errno.EFBIG: (
        "cannot be written: the file is too large for its file system or this user's limit; choose another folder"
    ),
    errno.EROFS: "cannot be written: its file system is read-only; choose another folder",
    errno.ENAMETOOLONG: "cannot be written: the name is too long for its file system",
    errno.ELOOP: "cannot be opened: its symbolic links form a loop; correct the links",
}
REFUSED = "cannot be used: this user lacks the permission; change it or choose another folder"


def explain_system_error(error: OSError, path: str | None = None) -> ConfigurationError | None:
    """Describe an error in one sentence; None if a person cannot mend it.

    Args:
        path: what was read or written; by default the path that the error names.
    """
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return ConfigurationError(OPEN_FILES)
    where = path or next((str(name) for name in (error.filename, error.filename2) if name), "a file")
    if error.errno in REASONS:
        return ConfigurationError(f"{where} {REASONS[error.errno]}")
    if isinstance(error, PermissionError) and error.filename:
        return ConfigurationError(f"{where} {REFUSED}")
    return None


@contextmanager
def explained_system_errors() -> Iterator[None]:
    """Context manager that turns an error which `explain_system_error` knows into `ConfigurationError`."""
    try:
        yield
    except OSError as error:
        known = explain_system_error(error)
        if known is None:
            raise
        raise known from error
