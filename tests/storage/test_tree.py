"""Folders up, down and mirrored; a mirror is complete, shared between processes, and follows its source."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from groot_ray.errors import ConfigurationError
from groot_ray.storage import NotFoundError, open_location
from groot_ray.storage.tree import download_tree, mirror, mirror_folder, upload_tree


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "folder"
    for name in ("meta/info.json", "data/chunk-000/0.parquet", "videos/a b/ü.mp4"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(os.urandom(1000))
    return root


def test_up_and_down(s3, folder: Path, tmp_path: Path) -> None:
    assert upload_tree(folder, s3.location / "x") == 3
    assert download_tree(s3.location / "x", tmp_path / "back") == 3
    assert contents(tmp_path / "back") == contents(folder)
    with pytest.raises(NotFoundError, match="nothing in s3://"):
        download_tree(s3.location / "missing", tmp_path / "missing")


def test_a_local_folder_is_its_own_mirror(folder: Path, tmp_path: Path) -> None:
    assert mirror(open_location(folder), tmp_path / "cache") == folder and not (tmp_path / "cache").exists()
    with pytest.raises(NotFoundError):
        mirror(open_location(tmp_path / "missing"), tmp_path / "cache")


def test_a_mirror_follows_its_source(s3, folder: Path, tmp_path: Path) -> None:
    source, cache = s3.location / "x", tmp_path / "cache"
    upload_tree(folder, source)
    local = mirror(source, cache)
    assert contents(local) == contents(folder)
    stamps = {path: path.stat().st_mtime_ns for path in local.rglob("*")}
    assert mirror(source, cache) == local and {path: path.stat().st_mtime_ns for path in local.rglob("*")} == stamps
    (source / "meta/info.json").write_bytes(b"same size?" * 100)  # changed, at the same size
    (source / "data/chunk-000/0.parquet").delete()
    (local / "videos/a b/ü.mp4").write_bytes(b"cut")  # a truncated copy
    mirror(source, cache)
    assert contents(local) == {
        "meta/info.json": b"same size?" * 100,
        "videos/a b/ü.mp4": (folder / "videos/a b/ü.mp4").read_bytes(),
    }
    with pytest.raises(NotFoundError):
        mirror(s3.location / "y", cache)


def test_a_mirror_without_some_files_is_a_copy_of_its_own(s3, folder: Path, tmp_path: Path) -> None:
    source, cache = s3.location / "x", tmp_path / "cache"
    upload_tree(folder, source)
    light = mirror(source, cache, without=frozenset({"videos/a b/ü.mp4"}))
    assert set(contents(light)) == {"meta/info.json", "data/chunk-000/0.parquet"}
    assert contents(mirror(source, cache)) == contents(folder)
    assert set(contents(light)) == {"meta/info.json", "data/chunk-000/0.parquet"}


def test_processes_share_a_mirror(s3, folder: Path, tmp_path: Path) -> None:
    """Four processes ask at once; each sees the complete folder, and every object is fetched once."""
    (folder / "big").write_bytes(os.urandom(8_000_000))
    upload_tree(folder, s3.location / "x")
    script = (
        "import sys, logging; logging.basicConfig(level='INFO')\n"
        "from pathlib import Path\nfrom groot_ray.storage import open_location\n"
        "from groot_ray.storage.tree import mirror\n"
        "local = mirror(open_location(sys.argv[1]), Path(sys.argv[2]))\n"
        "print(sum(path.stat().st_size for path in local.rglob('*') if path.is_file()))\n"
    )
    command = [sys.executable, "-c", script, (s3.location / "x").uri, str(tmp_path / "cache")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    answers = [process.communicate() for process in processes]
    assert [out.strip() for out, _ in answers] == ["8003000"] * 4
    assert sum(err.count("fetching 4 files") for _, err in answers) == 1


def test_a_mirror_that_was_killed_is_finished_by_the_next(s3, folder: Path, tmp_path: Path) -> None:
    upload_tree(folder, s3.location / "x")
    half = mirror_folder(s3.location / "x", tmp_path / "cache")
    (half / "meta").mkdir(parents=True)
    (half / "meta/info.json").write_bytes(b"?" * 1000)  # right size, but not recorded as fetched
    assert contents(mirror(s3.location / "x", tmp_path / "cache")) == contents(folder)


def test_a_mirror_that_does_not_fit_is_refused_first(
    s3, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    upload_tree(folder, s3.location / "x")
    usage = shutil.disk_usage(tmp_path)._replace(free=2000)
    monkeypatch.setattr("groot_ray.storage.tree.shutil.disk_usage", lambda _: usage)
    with pytest.raises(ConfigurationError, match=r"needs 3\.0 kB.*only 2\.0 kB free"):
        mirror(s3.location / "x", tmp_path / "cache")
