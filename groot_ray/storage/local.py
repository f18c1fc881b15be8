"""Files on a disk: written beside their target, synced, and renamed in one step."""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from groot_ray.errors import ConfigurationError
from groot_ray.storage.store import Listed, NotFoundError, Stat

PARTIAL_PREFIX = ".groot-ray-"
PARTIAL_SUFFIX = ".partial"


def is_partial(name: str) -> bool:
    """Whether this is the name of an unfinished write, left by a killed process; `groot-ray gc` removes those."""
    return name.startswith(PARTIAL_PREFIX) and name.endswith(PARTIAL_SUFFIX)


class LocalStore:
    """The files of this machine and its mounted file systems; keys are absolute paths."""

    def stat(self, key: str) -> Stat | None:
        path = Path(key)
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError:
            raise ConfigurationError(f"this user may not read {key}; change its permissions") from None
        if path.is_dir():
            return None
        return Stat(found.st_size, found.st_mtime, f"{found.st_mtime_ns}-{found.st_size}")

    def clock(self, key: str) -> float:
        return _clock(Path(key).parent)

    def read(self, key: str) -> bytes:
        with self.open(key) as stream:
            return stream.read()

    def open(self, key: str) -> BinaryIO:
        try:
            return open(key, "rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise NotFoundError(f"there is no file {key}") from None
        except PermissionError:
            raise ConfigurationError(f"this user may not read {key}; change its permissions") from None

    def list(self, key: str, recursive: bool) -> Iterator[Listed]:
        yield from _walk(Path(key), "", recursive)

    def folders(self, key: str) -> Iterator[str]:
        try:
            with os.scandir(key) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return
        yield from names

    def write(self, key: str, data: bytes) -> None:
        place_file(Path(key), lambda partial: partial.write_bytes(data), create_only=False)

    def create(self, key: str, data: bytes) -> bool:
        return place_file(Path(key), lambda partial: partial.write_bytes(data), create_only=True)

    def upload(self, key: str, path: Path, create_only: bool) -> bool:
        if not path.is_file():
            raise NotFoundError(f"there is no file {path}")
        return place_file(Path(key), lambda partial: shutil.copyfile(path, partial), create_only)

    def download(self, key: str, path: Path) -> None:
        self.upload(str(path), Path(key), create_only=False)

    def copy(self, source: str, target: str) -> None:
        self.upload(target, Path(source), create_only=False)

    def delete(self, key: str) -> None:
        with explained_write(key):
            Path(key).unlink(missing_ok=True)

    def delete_tree(self, key: str) -> None:
        with explained_write(key):
            if os.path.isdir(key) and not os.path.islink(key):
                shutil.rmtree(key)


def place_file(path: Path, write: Callable[[Path], object], create_only: bool) -> bool:
    """Let `write` fill a file beside `path`, then rename it atomically; if `create_only`, not over an existing file."""
    if create_only and path.exists():
        return False
    partial = path.parent / f"{PARTIAL_PREFIX}{uuid.uuid4().hex}{PARTIAL_SUFFIX}"
    with explained_write(str(path)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(partial)
            _sync(partial)
            if create_only:
                return _link(partial, path)
            os.replace(partial, path)
            return True
        finally:
            partial.unlink(missing_ok=True)
            _sync_folder(path.parent)


def _link(partial: Path, path: Path) -> bool:
    """Link `partial` to `path` unless that exists; this step is create-only on network file systems too."""
    try:
        os.link(partial, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
            raise ConfigurationError(
                f"the file system of {path.parent} has no hard links, which create-only writes need; "
                "choose another folder"
            ) from None
        raise
    return True


def _walk(folder: Path, prefix: str, recursive: bool) -> Iterator[Listed]:
    """Files below `folder` in the order of their relative paths as UTF-8 bytes, as S3 lists them."""
    try:
        with os.scandir(folder) as entries:
            # A folder sorts as if its name ended in '/', as it does in a complete path.
            found = sorted(entries, key=lambda entry: (entry.name + "/" if entry.is_dir() else entry.name).encode())
    except (FileNotFoundError, NotADirectoryError):
        return
    except PermissionError:
        raise ConfigurationError(f"this user may not list {folder}; change its permissions") from None
    for entry in found:
        if entry.is_dir():
            if recursive:
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", True)
        elif not is_partial(entry.name):
            try:
                state = entry.stat()
            except FileNotFoundError:  # removed since the folder was read, or a broken link
                continue
            version = f"{state.st_mtime_ns}-{state.st_size}"
            yield Listed(f"{prefix}{entry.name}", state.st_size, state.st_mtime, version)


def _clock(folder: Path) -> float:
    """Unix seconds on the clock that stamps the files of `folder`, which may be a file server's."""
    probe = folder / f"{PARTIAL_PREFIX}{uuid.uuid4().hex}{PARTIAL_SUFFIX}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:  # a read-only folder
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power failure, on file systems that support it."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


@contextmanager
def explained_write(key: str) -> Iterator[None]:
    """Context manager that turns operating system errors about writing to the path `key` into `ConfigurationError`."""
    try:
        yield
    except PermissionError:
        raise ConfigurationError(
            f"this user may not write {key}; change the folder's permissions or choose another folder"
        ) from None
    except (NotADirectoryError, FileExistsError, IsADirectoryError):
        raise ConfigurationError(
            f"{key} cannot be written: a file exists where a folder is needed, or vice versa; choose another folder"
        ) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ConfigurationError(
                f"{key} cannot be written: the disk is full; free up space or choose another folder"
            ) from None
        if error.errno == errno.EFBIG:
            raise ConfigurationError(
                f"{key} cannot be written: the file is too large for its file system or this user's limit; "
                "choose another folder"
            ) from None
        if error.errno == errno.EROFS:
            raise ConfigurationError(
                f"{key} cannot be written: its file system is read-only; choose another folder"
            ) from None
        if error.errno == errno.ENAMETOOLONG:
            raise ConfigurationError(f"{key} cannot be written: the name is too long for its file system") from None
        raise
