"""A manifest is committed once; an equal one is accepted, a different one rejected; files are listed with hashes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from groot_ray.errors import DataError, TemporaryFailureError
from groot_ray.storage import Location, open_location
from groot_ray.storage.manifest import (
    FileRecord,
    Manifest,
    commit_manifest,
    read_files,
    read_manifest,
    record_files,
    write_files,
)


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    return open_location(tmp_path) if request.param == "local" else request.getfixturevalue("s3").location / "stage"


def manifest(**changes) -> Manifest:
    return Manifest(**{"stage": "convert", "key": "abc", "version": "0.1.0", "made": {"episodes": 4}, **changes})


def test_committed_once(folder: Location) -> None:
    assert read_manifest(folder) is None
    commit_manifest(folder, manifest())
    commit_manifest(folder, manifest())
    with pytest.raises(TemporaryFailureError, match="another attempt"):
        commit_manifest(folder, manifest(made={"episodes": 5}))
    assert read_manifest(folder) == manifest()


def test_a_broken_manifest_is_reported(folder: Location) -> None:
    (folder / "manifest.json").write_bytes(b'{"no": "manifest"}')
    with pytest.raises(DataError, match="is not a manifest"):
        read_manifest(folder)
    (folder / "manifest.json").write_json({**manifest().model_dump(), "format": 99, "version": "7.0"})
    with pytest.raises(DataError, match=r"7\.0; install"):
        read_manifest(folder)


def test_files(folder: Location) -> None:
    (folder / "b/2").write_bytes(b"two")
    (folder / "a").write_bytes(b"")
    records = record_files(folder, ["b/2", "a"])
    assert records == [
        FileRecord("a", 0, hashlib.sha256(b"").hexdigest()),
        FileRecord("b/2", 3, hashlib.sha256(b"two").hexdigest()),
    ]
    digest = write_files(folder, reversed(records))
    assert (
        read_files(folder) == records and digest == hashlib.sha256((folder / "files.parquet").read_bytes()).hexdigest()
    )
    assert write_files(folder, records) == digest, "equal lists give equal bytes"


def test_generations_are_named() -> None:
    assert manifest().folder == "abc" and manifest(generation=3).folder == "abc.3"
