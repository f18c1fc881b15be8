"""Checks before any work, with a small probe object, that a storage supports the operations that stages need."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from groot_ray.errors import ConfigurationError, GrootRayError
from groot_ray.storage.location import Location
from groot_ray.storage.s3 import S3Store
from groot_ray.storage.store import Store

CHECK_FOLDER = ".groot-ray-check"


@dataclass(frozen=True)
class Right:
    """One operation tried on the storage, and its error (None if it succeeded)."""

    name: str
    problem: GrootRayError | None


def check_storage(location: Location) -> None:
    """Write, read, list, create and remove a probe object below `location`.

    Interrupted requests are repeated for a few seconds; a wrong configuration is reported at once.

    Raises:
        ConfigurationError: credentials are missing or wrong, the bucket or a permission is missing, the disk is full,
            or the service ignores create-only writes.
        ServiceUnavailableError: the endpoint did not answer for a few seconds.
    """
    for right in probe_storage(location):
        if right.problem is not None:
            raise right.problem


def probe_storage(location: Location) -> Iterator[Right]:
    """Try the operations that stages need, up to the first that fails, because later ones depend on it."""
    store: Store = location.store
    if location.bucket is not None:
        store = S3Store(location.bucket, location.endpoint, location.region, patient=False)
    folder = location / CHECK_FOLDER / uuid.uuid4().hex
    probe, parts = (folder / "probe").key, (folder / "parts").key
    data = b"written by groot-ray to see whether it may; can be removed"
    here = location.uri

    def put() -> None:
        store.write(probe, b"")
        store.write(probe, data)

    def get() -> None:
        if store.read(probe) != data:
            raise ConfigurationError(f"{here}: read returned different bytes than were written; use another storage")

    def list_() -> None:
        if [found.relative for found in store.list(folder.key, True)] != ["probe"]:
            raise ConfigurationError(f"{here}: a file that was just written is not listed; use another storage")

    def create_only() -> None:
        if store.create(probe, b"a second writer") or store.read(probe) != data:
            raise ConfigurationError(
                f"{here}: the service ignores create-only writes (If-None-Match), so two runs could mix their results; "
                "use one that supports them, such as AWS S3 or MinIO"
            )

    def multipart() -> None:
        if isinstance(store, S3Store):
            store.put_in_parts(parts, data)
            if store.read(parts) != data:
                raise ConfigurationError(
                    f"{here}: a multipart upload returned different bytes than were written; use another storage"
                )

    def delete() -> None:
        store.delete(probe)
        store.delete(parts)
        if store.stat(probe) is not None:
            raise ConfigurationError(f"{here}: a deleted file still exists; use another storage")
        if location.is_local:
            with suppress(OSError):  # never made on a read-only disk; above it, another check may be running
                folder.path.rmdir()
                folder.path.parent.rmdir()

    steps: list[tuple[str, Callable[[], None]]] = [
        ("put", put),
        ("get", get),
        ("list", list_),
        ("create-only put", create_only),
        ("multipart upload", multipart),
    ]
    for name, step in steps:
        problem = _problem_of(step)
        if problem is not None:
            _problem_of(delete)
            yield Right(name, problem)
            return
        yield Right(name, None)
    yield Right("delete", _problem_of(delete))


def _problem_of(step: Callable[[], None]) -> GrootRayError | None:
    try:
        step()
    except GrootRayError as error:
        return error
    return None
