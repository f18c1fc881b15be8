"""`Location`: a file or folder on a disk or in S3, as a value that can be joined, compared and pickled.

Nothing is opened before the first read or write; each process makes its S3 client on first use.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.json_file import parse_json
from groot_ray.storage.store import NotFoundError, Seen, Stat, Store

__all__ = ["Entry", "Location", "NotFoundError", "Stat", "open_location"]


@dataclass(frozen=True)
class Entry:
    """A file found by `Location.list`: path below the listed folder, size in bytes, time of writing, location."""

    relative: str
    size: int
    location: Location
    modified: float = 0.0
    version: str = ""


@dataclass(frozen=True)
class Location:
    """A file or folder: an absolute path, or a key in an S3 bucket (`bucket` is None for local ones).

    `endpoint` and `region` are the experiment's. Those of the environment (AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL,
    AWS_REGION) override them in each process, because a service has different names inside and outside a cluster.
    """

    key: str
    bucket: str | None = None
    endpoint: str | None = None
    region: str | None = None

    # --- names ------------------------------------------------------------------------------------------------

    def __truediv__(self, relative: str) -> Location:
        parts = [part for part in str(relative).split("/") if part not in ("", ".")]
        if ".." in parts:
            raise ConfigurationError(f"{relative!r} below {self.uri} may not contain '..'; name the folder itself")
        base = self.key.rstrip("/")
        joined = "/".join(parts)
        if not joined:
            return self
        return replace(self, key=f"{base}/{joined}" if base or self.is_local else joined)

    def __str__(self) -> str:
        return self.uri

    @property
    def uri(self) -> str:
        """An absolute path, or `s3://bucket/key`; `open_location` reads it."""
        return self.key if self.bucket is None else f"s3://{self.bucket}/{self.key}".rstrip("/")

    @property
    def name(self) -> str:
        """The last part of the path; at the top of a bucket, the bucket's name."""
        return self.key.rsplit("/", 1)[-1] or self.bucket or "/"

    @property
    def parent(self) -> Location:
        """The folder that contains this one; the top of a bucket is its own parent."""
        above = self.key.rsplit("/", 1)[0] if "/" in self.key else ""
        return replace(self, key=above or ("/" if self.is_local else ""))

    @property
    def is_local(self) -> bool:
        """Whether this is a path on this machine."""
        return self.bucket is None

    @property
    def path(self) -> Path:
        """The path of a local location; raises ValueError for S3 (use `as_local` or `mirror`)."""
        if self.bucket is not None:
            raise ValueError(f"{self.uri} is not a local path")
        return Path(self.key)

    @property
    def store(self) -> Store:
        """The store of this location, one per process, bucket and endpoint."""
        if self.bucket is None:
            from groot_ray.storage.local import LocalStore

            return LocalStore()
        from groot_ray.storage.s3 import s3_store

        return s3_store(self.bucket, self.endpoint, self.region)

    # --- reading ----------------------------------------------------------------------------------------------

    def stat(self) -> Stat | None:
        """Size, time of writing and change token of this file, or None if there is none."""
        return self.store.stat(self.key)

    def clock(self) -> float:
        """Unix seconds on the storage's clock, which stamps files and may differ from this machine's."""
        return self.store.clock(self.key)

    def exists(self) -> bool:
        """Whether a file is here (for folders, see `has_files`)."""
        return self.stat() is not None

    def has_files(self) -> bool:
        """Whether this is a folder with at least one file anywhere below it."""
        return next(self.store.list(self.key, True), None) is not None

    def size(self) -> int:
        """Size in bytes; raises `NotFoundError`."""
        found = self.stat()
        if found is None:
            raise NotFoundError(f"there is no file {self.uri}")
        return found.size

    def read_bytes(self) -> bytes:
        """Read the complete file; raises `NotFoundError`."""
        return self.store.read(self.key)

    def read_text(self) -> str:
        """Read the complete file as UTF-8 text; raises `NotFoundError` or `DataError`."""
        try:
            return self.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{self.uri} is not UTF-8 text ({error.reason} at byte {error.start})") from None

    def read_json(self) -> Any:
        """Read the complete file as JSON; raises `NotFoundError` or `DataError`."""
        return parse_json(self.read_text(), self.uri)

    def open(self) -> BinaryIO:
        """Open a seekable binary reader, as pyarrow and PyAV need; on S3 it reads ranges. Raises `NotFoundError`."""
        return self.store.open(self.key)

    def list(self, recursive: bool = True) -> Iterator[Entry]:
        """The files below this folder (directly in it if not `recursive`), by path; none if it does not exist."""
        for found in self.store.list(self.key, recursive):
            yield Entry(found.relative, found.size, self / found.relative, found.modified, found.version)

    def folders(self) -> Iterator[Location]:
        """The folders directly below this one, by name."""
        for name in self.store.folders(self.key):
            yield self / name

    def download(self, path: Path, seen: Seen | None = None) -> None:
        """Copy this file to `path` atomically, calling `seen` with each block; raises `NotFoundError`."""
        self.store.download(self.key, Path(path), seen)

    @contextmanager
    def as_local(self) -> Iterator[Path]:
        """Context manager that gives this file as a path: itself if local, else a temporary download."""
        if self.is_local:
            self.size()
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix="groot-ray-") as folder:
            path = Path(folder) / self.name
            self.download(path)
            yield path

    # --- writing ----------------------------------------------------------------------------------------------

    def write_bytes(self, data: bytes) -> None:
        """Write the file atomically, replacing an existing one."""
        self.store.write(self.key, bytes(data))

    def write_text(self, text: str) -> None:
        """Write UTF-8 text atomically."""
        self.write_bytes(text.encode("utf-8"))

    def write_json(self, value: Any) -> None:
        """Write JSON (indented, keys in the given order) atomically."""
        self.write_bytes(to_json(value))

    def create_bytes(self, data: bytes) -> bool:
        """Write the file only if it does not exist; if it does, changes nothing and returns False."""
        return self.store.create(self.key, bytes(data))

    def create_json(self, value: Any) -> bool:
        """`create_bytes` of `value` as JSON."""
        return self.create_bytes(to_json(value))

    def upload(self, path: Path, create_only: bool = False) -> bool:
        """Copy the local file `path` here atomically; returns False if `create_only` and the file exists."""
        return self.store.upload(self.key, Path(path), create_only)

    def copy_from(self, other: Location) -> None:
        """Copy the file `other` here; within one S3 service, the service copies."""
        if self.is_local and other.is_local:
            self.store.copy(other.key, self.key)
        elif self.bucket is not None and other.bucket is not None and same_service(self, other):
            self.store.copy(f"{other.bucket}/{other.key}", self.key)
        else:
            with other.as_local() as path:
                self.upload(path)

    def delete(self) -> None:
        """Remove the file, if it exists."""
        self.store.delete(self.key)

    def delete_tree(self) -> None:
        """Remove the folder and everything in it, if it exists."""
        if self.key.strip("/") == "":
            raise ConfigurationError(
                f"{self.uri} is the top of its storage, which is never removed; name a folder in it"
            )
        self.store.delete_tree(self.key)


def to_json(value: Any) -> bytes:
    """`value` as indented UTF-8 JSON that ends in a newline."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8")


def same_service(one: Location, other: Location) -> bool:
    """Whether two S3 locations share an endpoint, so that the service can copy between them."""
    from groot_ray.storage.client import effective_endpoint

    return effective_endpoint(one.endpoint) == effective_endpoint(other.endpoint)


_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")


def open_location(uri: str | Path | Location, endpoint: str | None = None, region: str | None = None) -> Location:
    """Make a location from `s3://bucket/prefix`, `file:///path` or a path, relative to the working directory.

    Only the syntax of `uri` is checked; raises `ConfigurationError` for an unknown scheme.
    """
    if isinstance(uri, Location):
        return uri
    text = str(uri)
    if not text.strip():
        raise ConfigurationError("a storage location is empty; give a path or s3://bucket/prefix")
    scheme, separator, rest = text.partition("://")
    if not separator:
        if re.match(r"s3:/?[^/]", text):
            raise ConfigurationError(f"{text!r} is neither a path nor an S3 URI; write s3://bucket/prefix")
        return Location(_absolute(text))
    if scheme == "file":
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost"):
            raise ConfigurationError(f"{text!r} names the host {parts.netloc!r}; write file:///path with three slashes")
        return Location(_absolute(unquote(parts.path)))
    if scheme == "s3":
        bucket, _, key = rest.partition("/")
        if not _BUCKET.fullmatch(bucket):
            raise ConfigurationError(f"{text!r} has no valid bucket name; write s3://bucket/prefix")
        top = Location("", bucket, (endpoint or "").rstrip("/") or None, region or None)
        return top / key
    raise ConfigurationError(
        f"{text!r} has the unknown scheme {scheme!r}; use a path, file:///path or s3://bucket/prefix"
    )


def _absolute(text: str) -> str:
    return os.path.abspath(os.path.expanduser(text))
