"""Runs in killed processes end with the losses and weights of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import killed_run
import pytest
from training import history, largest_difference

STEPS = 40


def start(*arguments: str) -> subprocess.Popen[bytes]:
    here = Path(__file__).parent
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{here}{os.pathsep}{here.parent.parent}"}
    return subprocess.Popen([sys.executable, str(here / "killed_run.py"), *arguments], env=environment)


def wait_for_recovery(output: Path, process: subprocess.Popen[bytes], after: int = 0) -> int:
    """Wait until a recovery checkpoint beyond step `after` is committed; returns its step."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        steps = [int(path.parent.name[5:]) for path in output.glob("recovery/step-*/manifest.json")]
        if max(steps, default=0) > after:
            return max(steps)
        assert process.poll() is None, f"the run ended with code {process.returncode} before it could be killed"
        time.sleep(0.02)
    raise AssertionError("no recovery checkpoint came")


@pytest.fixture(scope="module")
def whole(train_set: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last checkpoint of an undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    killed_run.run(str(train_set), str(base), str(folder / "run"), str(folder / "cache"), STEPS, False)
    return folder / "run" / f"checkpoint-{STEPS}"


def test_a_process_killed_twice_ends_the_same(train_set: Path, base: Path, whole: Path, tmp_path: Path) -> None:
    arguments = [str(train_set), str(base), str(tmp_path / "run"), str(tmp_path / "cache"), str(STEPS)]
    reached = 0
    for _ in range(2):
        process = start(*arguments)
        reached = wait_for_recovery(tmp_path / "run", process, reached)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < reached < STEPS
    killed_run.run(*arguments[:4], STEPS, False)
    last = tmp_path / "run" / f"checkpoint-{STEPS}"
    assert largest_difference(whole, last) == 0
    assert history(whole) == history(last)
    assert not list((tmp_path / "run" / "recovery").glob("*"))
