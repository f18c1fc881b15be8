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

from groot_ray.errors import ConfigurationError, GrootRayError, ServiceUnavailableError
from groot_ray.storage.store import Listed, NotFoundError, Seen, Stat
from groot_ray.system_errors import explain_system_error

PARTIAL_PREFIX = ".groot-ray-"
PARTIAL_SUFFIX = ".partial"
BLOCK = 4 << 20


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
        except OSError as error:
            raise _unreliable(key, error) from None
        if path.is_dir():
            return None
        return Stat(found.st_size, found.st_mtime, f"{found.st_mtime_ns}-{found.st_size}")

    def clock(self, key: str) -> float:
        return _clock(Path(key).parent)

    def read(self, key: str) -> bytes:
        with self.open(key) as stream:
            try:
                return stream.read()
            except OSError as error:
                raise _unreliable(key, error) from None

    def open(self, key: str) -> BinaryIO:
        try:
            return open(key, "rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise NotFoundError(f"there is no file {key}") from None
        except PermissionError:
            raise ConfigurationError(f"this user may not read {key}; change its permissions") from None
        except OSError as error:
            raise _unreliable(key, error) from None

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

    def download(self, key: str, path: Path, seen: Seen | None = None) -> None:
        if seen is None:
            self.upload(str(path), Path(key), create_only=False)
            return
        with self.open(key) as stream:
            place_file(path, lambda partial: _copy_blocks(stream, partial, seen), create_only=False)

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
    with explained_write(str(path)):
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
            with suppress(OSError):  # gc removes it
                partial.unlink(missing_ok=True)
            _sync_folder(path.parent)


def _copy_blocks(stream: BinaryIO, target: Path, seen: Seen) -> None:
    with target.open("wb") as out:
        while block := stream.read(BLOCK):
            out.write(block)
            seen(block)


def _link(partial: Path, path: Path) -> bool:
    """Link `partial` to `path` unless that exists; this step is create-only on network file systems too."""
    try:
        os.link(partial, path)
    except FileExistsError:
        return path.samefile(partial)  # a network file system repeats a request whose answer was lost
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
    """Context manager that turns operating system errors about writing to the path `key` into sentences.

    Raises:
        ConfigurationError: permissions, a full disk, a name or a file system that cannot be written.
        ServiceUnavailableError: any other error, such as an I/O error or a stale network share.
    """
    try:
        yield
    except GrootRayError:  # NotFoundError is an OSError too
        raise
    except PermissionError:
        raise ConfigurationError(
            f"this user may not write {key}; change the folder's permissions or choose another folder"
        ) from None
    except (NotADirectoryError, FileExistsError, IsADirectoryError):
        raise ConfigurationError(
            f"{key} cannot be written: a file exists where a folder is needed, or vice versa; choose another folder"
        ) from None
    except OSError as error:
        known = explain_system_error(error, key)
        raise known or _unreliable(key, error) from None


def _unreliable(key: str, error: OSError) -> ServiceUnavailableError:
    """The error for a disk or a network share that does not answer properly, which may pass."""
    said = os.strerror(error.errno).lower() if error.errno else str(error)
    return ServiceUnavailableError(
        f"{key}: the file system reports {said!r}; check the disk or the network share, then run again"
    )
