"""The soak (benchmarks/soak): its choices and its judgement, and, slowly, a few kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.soak.checks import Kill, check_end, check_losses
from benchmarks.soak.dataset import LENGTHS, write_dataset
from benchmarks.soak.driver import Driver
from benchmarks.soak.faults import Fault, Moment, choose_faults
from benchmarks.soak.pipeline import STAGES, Setup
from benchmarks.soak.processes import read_process
from benchmarks.soak.results import check_records, compare, complete, is_result, read_results, without_speeds
from groot_ray.dataset.source.formats import open_source
from groot_ray.experiment.document import load_document
from groot_ray.storage import open_location

REPOSITORY = Path(__file__).resolve().parents[2]


def test_faults_follow_from_the_seed() -> None:
    def faults(seed: int, trial: int, storage: str = "s3", workers: int = 1) -> list[Fault]:
        return choose_faults(seed, trial, storage, workers, killable=True, files=True)

    assert faults(1, 2) == faults(1, 2) != faults(1, 3) != faults(2, 3)
    every = [fault for trial in range(300) for fault in faults(0, trial)]
    assert {fault.stage for fault in every} == set(STAGES)
    assert {fault.target for fault in every} == {
        "driver", "storage", "convert worker", "train worker", "controller", "raylet", "gcs",
    }  # fmt: skip
    assert {fault.signal for fault in every if fault.target == "driver"} == {"KILL", "TERM", "INT"}
    alone = [fault for trial in range(100) for fault in faults(0, trial, "local", workers=0)]
    assert not {"storage", "train worker", "controller"} & {fault.target for fault in alone}
    for trial in range(100):
        stages = [STAGES.index(fault.stage) for fault in faults(0, trial)]
        assert stages == sorted(stages)


def ended(code: str, folder: Path) -> Driver:
    """A driver that ran a line of Python, or was killed by it."""
    driver = Driver([sys.executable, "-c", code], dict(os.environ), folder)
    driver.process.wait(60)
    driver.finish_reading()
    return driver


def kill(target: str, name: str, at: float = 0.0) -> Kill:
    return Kill(Fault("finetune", Moment("start"), target, name), at, [1], 1)


@pytest.mark.parametrize(
    ("code", "kills", "complete", "problem"),
    [
        ("raise SystemExit(75)", [kill("driver", "TERM")], False, None),
        ("raise SystemExit(70)", [kill("driver", "INT")], False, None),
        ("import os; os.kill(os.getpid(), 9)", [kill("driver", "KILL")], False, None),
        ("raise SystemExit(69)", [kill("gcs", "KILL")], False, None),
        ("pass", [kill("train worker", "KILL")], True, None),
        ("pass", [kill("train worker", "KILL")], False, "exit code 0 without a complete result"),
        ("pass", [kill("driver", "TERM")], True, "went on for"),
        ("raise SystemExit(75)", [], False, "exit code 75 without a fault"),
        ("raise SystemExit(70)", [kill("driver", "TERM")], False, "exit code 70"),
        ("raise SystemExit(1)", [kill("raylet", "KILL")], False, "exit code 1"),
        ("import os; os.kill(os.getpid(), 11)", [kill("driver", "TERM")], False, "exit code -11"),
        ("raise KeyError(1)", [kill("driver", "TERM")], False, "Traceback"),
    ],
)
def test_ends_are_judged(code: str, kills: list[Kill], complete: bool, problem: str | None, tmp_path: Path) -> None:
    at = 10.0 if problem == "went on for" else 0.0
    problems = check_end(ended(code, tmp_path), at, kills, complete)
    assert problems == [] if problem is None else any(problem in found for found in problems)


def test_printed_losses_are_compared(tmp_path: Path) -> None:
    driver = ended("print('12:00:00 step 2/8: loss 1.50000, learning rate 0')", tmp_path)
    assert check_losses(driver, {2: "1.50000"}) == []
    assert check_losses(driver, {2: "1.50001"}) == ["printed loss 1.50000 at step 2, not 1.50001"]


def write(folder: Path, files: dict[str, Any]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))


def test_results_are_compared_by_their_bytes(tmp_path: Path) -> None:
    files = {
        "convert/k/train/meta/info.json": "a",
        "evaluate/k/manifest.json": {"made": {}},
        "evaluate/k/attempts/1.json": "b",
        "finetune/k/logs/1.txt": "c",
    }
    write(tmp_path / "one", files)
    write(tmp_path / "two", {**files, "evaluate/k/attempts/1.json": "other", "convert/k/train/meta/info.json": "A"})
    write(tmp_path / "two", {"convert/k/train/left.part": "d"})
    one, two = read_results(str(tmp_path / "one")), read_results(str(tmp_path / "two"))
    assert sorted(one) == ["convert/k/train/meta/info.json", "evaluate/k/manifest.json"]
    assert complete(one) and not complete({})
    assert compare(one, one) == []
    assert compare(one, two) == [
        "1 files more: convert/k/train/left.part",
        "1 files different: convert/k/train/meta/info.json",
    ]
    assert is_result("finetune/k/checkpoint-3/optimizer.safetensors")


def test_speeds_do_not_count_and_losses_do() -> None:
    def state(loss: float, speed: float) -> bytes:
        line = {"step": 1, "loss": loss, "samples_per_second": speed, "data_wait": speed}
        return without_speeds(
            "finetune/k/checkpoint-1/trainer_state.json", json.dumps({"log_history": [line]}).encode()
        )

    assert state(1.0, 2.0) == state(1.0, 3.0) != state(1.1, 2.0)


def test_listed_files_must_be_there_as_listed(tmp_path: Path) -> None:
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"  # of "x"
    rows = [
        {"path": "weights", "size": 1, "sha256": digest},
        {"path": "optimizer.safetensors", "size": 9, "sha256": "-"},
    ]
    write(tmp_path, {"finetune/k/checkpoint-1/manifest.json": {"made": {"files": rows}}})
    write(tmp_path, {"finetune/k/checkpoint-1/weights": "x"})
    assert check_records(str(tmp_path)) == []
    write(tmp_path, {"finetune/k/checkpoint-1/weights": "y"})
    assert check_records(str(tmp_path)) == ["1 files are not as listed: finetune/k/checkpoint-1/weights"]


def test_the_dataset_and_the_experiment_are_valid(tmp_path: Path) -> None:
    source = open_source(open_location(write_dataset(tmp_path / "data")))
    assert [episode.length for episode in source.episodes] == list(LENGTHS)
    setup = Setup(tmp_path / "trial", tmp_path / "data", workers=2)
    setup.prepare(str(setup.local))
    assert load_document(setup.experiment).experiment.training.num_workers == 2


def test_a_process_that_has_ended_gets_no_signal() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    found = read_process(process.pid)
    assert found is not None and found.signal(signal.SIGKILL)
    process.wait(10)
    assert read_process(process.pid) is None
    assert not found.signal(signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_few_kills(workers: str, tmp_path: Path) -> None:
    out = tmp_path / "soak.json"
    begun = time.monotonic()
    command = ["--kills", "5", "--seed", "1", "--parallel", "1", "--workers", workers, "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", *command], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert done.returncode == 0, done.stdout
    trials = json.loads(out.read_text())["trials"]
    assert sum(len(trial["kills"]) for trial in trials) >= 5, f"{done.stdout}\nafter {time.monotonic() - begun:.0f} s"
