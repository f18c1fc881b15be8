"""SIGTERM and Ctrl-C during `groot-ray finetune`: real processes and signals, results equal to undisturbed ones."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from training import history, largest_difference

from groot_ray.storage import open_location
from groot_ray.storage.lease import attempts

STEPS = 150
LINE = re.compile(r"step (\d+)/\d+: loss ([0-9.]+)")


class Run:
    """A `groot-ray finetune` in its own process and session, whose output is read while it runs."""

    def __init__(self, train_set: Path, base: Path, folder: Path, workers: int = 0) -> None:
        self.output = folder / "run"
        self.log = folder / f"log-{time.monotonic_ns()}"
        options = {
            "dataset-path": train_set, "base-model-path": base, "output-dir": self.output, "cache": folder / "cache",
            "embodiment-tag": "GR1", "max-steps": STEPS, "save-steps": 20, "global-batch-size": 4,
            "learning-rate": 1e-3, "logging-steps": 1, "recovery-interval": 0, "num-workers": workers,
        }  # fmt: skip
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "groot_ray.cli.main", "finetune", *arguments],
                stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True,
            )  # fmt: skip

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, pattern: str) -> None:
        deadline = time.monotonic() + 180
        while not re.search(pattern, self.text):
            assert self.process.poll() is None and time.monotonic() < deadline, self.text
            time.sleep(0.01)

    def signal(self, *signals: int) -> int:
        """Send signals, a second apart; returns the exit code after checking that nothing is left over."""
        started = psutil.Process(self.process.pid).children(recursive=True)
        for index, number in enumerate(signals):
            if index:
                time.sleep(1)
            self.process.send_signal(number)
        begun = time.monotonic()
        code = self.process.wait(90)
        assert time.monotonic() - begun < 30
        assert "Traceback" not in self.text and "SIGTERM received" not in self.text, self.text
        assert "restarting the workers" not in self.text
        _, alive = psutil.wait_procs(started, timeout=20)
        assert not alive, alive
        return code

    def losses(self) -> dict[int, str]:
        return {int(step): loss for step, loss in LINE.findall(self.text)}

    def end(self) -> tuple[int, str]:
        """Exit code and sentence of the last attempt."""
        last = attempts(open_location(self.output / ".groot-ray"))[-1]
        assert last.ended and last.code is not None
        return last.code, last.sentence


@pytest.fixture(scope="module")
def start(train_set: Path, base: Path) -> Callable[..., Run]:
    return lambda folder, workers=0: Run(train_set, base, folder, workers)


@pytest.fixture(scope="module")
def whole(start: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = start(tmp_path_factory.mktemp("whole"))
    assert run.process.wait(240) == 0, run.text
    return run.output / f"checkpoint-{STEPS}"


def continue_and_compare(start: Callable[..., Run], whole: Path, folder: Path, workers: int, before: Run) -> None:
    """Run the same command to its end: equal weights and losses, and the consoles said what was committed."""
    after = start(folder, workers)
    assert after.process.wait(240) == 0, after.text
    last = after.output / f"checkpoint-{STEPS}"
    assert largest_difference(whole, last) == 0
    assert history(whole) == history(last)
    committed = {step: f"{loss:.5f}" for step, loss in history(last).items()}
    assert after.losses().items() <= committed.items()
    assert before.losses().items() <= committed.items()


def test_sigterm_saves_ends_with_75_and_the_same_command_continues(
    start: Callable[..., Run], whole: Path, tmp_path: Path
) -> None:
    run = start(tmp_path)
    run.wait_for("step 5/")
    assert run.signal(signal.SIGTERM) == 75
    assert run.end()[0] == 75 and "SIGTERM" in run.end()[1]
    assert list(run.output.glob("checkpoint-*/manifest.json")) and not (run.output / f"checkpoint-{STEPS}").exists()
    continue_and_compare(start, whole, tmp_path, 0, run)


def test_sigterm_before_the_first_step_ends_at_once(start: Callable[..., Run], tmp_path: Path) -> None:
    run = start(tmp_path)
    run.wait_for("checkpoints in")
    assert run.signal(signal.SIGTERM) == 75
    assert run.end()[0] == 75
    assert not list(run.output.glob("*/manifest.json"))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("moment", ["checkpoints in", "step 5/", "step 20/"])
@pytest.mark.parametrize(
    "signals", [(signal.SIGTERM,), (signal.SIGINT,), (signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT)]
)
def test_every_signal_at_every_moment(
    start: Callable[..., Run], train_set: Path, base: Path, tmp_path: Path, workers: int, moment: str,
    signals: tuple[int, ...], whole_of: Callable[[int], Path],
) -> None:  # fmt: skip
    run = start(tmp_path, workers)
    run.wait_for(moment)  # at the start, in a step, while the checkpoint of step 20 is written
    assert run.signal(*signals) == (75 if signals[0] == signal.SIGTERM else 70)
    assert run.end()[0] == run.process.returncode
    continue_and_compare(start, whole_of(workers), tmp_path, workers, run)


@pytest.fixture(scope="module")
def whole_of(start: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """``whole_of(workers)``: the last checkpoint of an undisturbed run; threads differ between them, so do sums."""
    made: dict[int, Path] = {}

    def whole(workers: int) -> Path:
        if workers not in made:
            run = start(tmp_path_factory.mktemp("whole"), workers)
            assert run.process.wait(240) == 0, run.text
            made[workers] = run.output / f"checkpoint-{STEPS}"
        return made[workers]

    return whole
