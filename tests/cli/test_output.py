"""What a command does if standard output is a pipe without a reader, full, or closed."""

from __future__ import annotations

import subprocess
import sys

from groot_ray.cli.main import BROKEN_PIPE

REFERENCE = f"{sys.executable} -m groot_ray.cli.main experiment reference"  # fills a pipe's buffer
VERSION = f"{sys.executable} -m groot_ray.cli.main --version"


def bash(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)


def test_a_reader_that_has_gone_is_no_error_message() -> None:
    for program in (REFERENCE, VERSION):
        done = bash(f"{program} | true; exit ${{PIPESTATUS[0]}}")
        assert (done.returncode, done.stderr) == (BROKEN_PIPE, "")


def test_a_full_disk_behind_standard_output_is_one_sentence() -> None:
    for program in (REFERENCE, VERSION, f"{sys.executable} -m groot_ray.cli.main --help"):
        done = bash(f"{program} > /dev/full")
        assert done.returncode == 64
        assert done.stderr.startswith("groot-ray: standard output") and "the disk is full" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_standard_output_may_be_closed() -> None:
    done = bash(f"{VERSION} >&-")
    assert (done.returncode, done.stderr) == (0, "")
