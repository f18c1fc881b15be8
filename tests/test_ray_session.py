"""Folders in which Ray cannot start are rejected at once, instead of by Ray's own timeouts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from groot_ray import ray_session
from groot_ray.errors import ConfigurationError
from groot_ray.ray_session import _check_session_folder

MAY_MOUNT = subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0
ENSURE = """
from groot_ray.errors import ConfigurationError
from groot_ray.ray_session import ensure_ray
try:
    ensure_ray(cpus=1)
except ConfigurationError as error:
    print(error)
"""


def mounted(options: str) -> list[str]:
    """Runs ``FOLDER PYTHON SCRIPT`` with an empty file system on FOLDER that no other process sees."""
    return ["unshare", "-m", "bash", "-c", f'mount -t tmpfs -o {options} t "$1" && "$2" -c "$3"', "bash"]


@pytest.mark.parametrize(
    ("options", "said"),
    [("size=64k", "has 0.1 MB free, and Ray needs 20 MB"), ("ro", "its file system is read-only")],
)
@pytest.mark.skipif(not MAY_MOUNT, reason="this user may not mount file systems")
def test_a_full_or_read_only_temporary_folder_is_reported(options: str, said: str) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # short enough for sockets
        _check_report(options, said, folder)


def _check_report(options: str, said: str, folder: str) -> None:
    done = subprocess.run(
        [*mounted(options), folder, sys.executable, ENSURE],
        env={**os.environ, "RAY_TMPDIR": folder},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert said in done.stdout and len(done.stdout.splitlines()) == 1, done.stderr
    assert os.listdir(folder) == []


def test_a_temporary_folder_too_long_for_sockets_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    with pytest.raises(ConfigurationError, match="too long for Ray's sockets .* of 107 bytes"):
        _check_session_folder(folder)
    assert not folder.exists()


def test_a_missing_temporary_folder_with_spaces_is_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_session, "SOCKET_BYTES", 1000)
    _check_session_folder(tmp_path / "with spaces" / "below")
    assert list((tmp_path / "with spaces" / "below").iterdir()) == []


@pytest.mark.skipif(not MAY_MOUNT, reason="this user may not mount file systems")
def test_a_local_ray_gets_a_token_without_a_home_that_can_be_written(tmp_path: Path) -> None:
    script = "from groot_ray.ray_session import _provide_token; import os; _provide_token(); "
    script += "print(len(os.environ.get('RAY_AUTH_TOKEN', '')))"
    for home in (tmp_path, tmp_path / "missing"):
        done = subprocess.run(
            [*mounted("ro"), str(tmp_path), sys.executable, script],
            env={**{k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}, "HOME": str(home)},
            capture_output=True,
            text=True,
        )
        assert done.stdout == "64\n", done.stderr


def test_too_few_open_files_are_reported() -> None:
    done = subprocess.run(
        ["bash", "-c", 'ulimit -n 64; "$1" -c "$2"', "bash", sys.executable, ENSURE], capture_output=True, text=True
    )
    assert "may open only 64 files, and Ray needs 256" in done.stdout, done.stderr
