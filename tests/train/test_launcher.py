"""Ray Train around the loop: one to three workers, lost workers, lost drivers, requests to stop."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import killed_run
import pytest
from test_killed import STEPS, start, wait_for_recovery
from training import history, largest_difference

from groot_ray.errors import ConfigurationError, DataError, StoppedError
from groot_ray.experiment.schema import ModelOptions, TrainingOptions
from groot_ray.progress import Progress
from groot_ray.storage import open_location
from groot_ray.storage.lease import attempts
from groot_ray.train.checkpoints.run_folder import RunFolder
from groot_ray.train.plan import FinetunePlan

pytestmark = pytest.mark.usefixtures("one_ray")

QUICK: dict[str, Any] = {
    "global_batch_size": 8,
    "max_steps": 4,
    "learning_rate": 1e-3,
    "logging_steps": 1,
    "recovery_interval": 0,
}


@pytest.fixture(scope="module")
def whole(train_set: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last checkpoint of an undisturbed run, with as many threads as Ray's workers, since sums depend on it."""
    folder = tmp_path_factory.mktemp("whole")
    threads = min(4, os.cpu_count() or 1)
    killed_run.run(str(train_set), str(base), str(folder / "run"), str(folder / "cache"), STEPS, False, threads)
    return folder / "run" / f"checkpoint-{STEPS}"


@pytest.fixture
def finetune(train_set: Path, base_without_dropout: Path, tmp_path: Path) -> Callable[..., Any]:
    def run(
        output: Path,
        base: Path = base_without_dropout,
        progress: Progress | None = None,
        dataset: Path = train_set,
        **training: Any,
    ) -> Any:
        from groot_ray.train.ray.launcher import finetune

        plan = FinetunePlan(
            open_location(dataset),
            open_location(output),
            ModelOptions(base=str(base)),
            TrainingOptions(**{**QUICK, **training}),
            cache=str(tmp_path / "cache"),
        )
        return finetune(plan, progress=progress)

    return run


def worker_process() -> int | None:
    """Process ID of a training worker started by this process's Ray."""
    parents: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text()
                title = (entry / "cmdline").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = (int(status.rsplit(")", 1)[1].split()[1]), title)
    for pid, (_, title) in parents.items():
        above = pid
        while above in parents and above != os.getpid():
            above = parents[above][0]
        if above == os.getpid() and "RayTrainWorker" in title:
            return pid
    return None


def test_three_workers_compute_the_losses_of_one_and_stop_when_asked_to(finetune, tmp_path: Path) -> None:
    """With accumulation, uneven micro-batches, and trainable parameters that are unused in the forward pass."""
    options = {"warmup_ratio": 0.0, "tune_visual": True, "tune_llm": True}

    def stopped(name: str, **more: Any) -> tuple[int, dict[int, float]]:
        """Train until at least two steps are reported, then ask to stop; returns the saved step and losses by step."""
        run = RunFolder(open_location(tmp_path / name))

        def look(state: Any) -> None:
            if state.done >= 2 and not run.stop_requested():
                run.request_stop()

        with pytest.raises(StoppedError, match="stopped after step"):
            finetune(
                tmp_path / name, max_steps=100_000, progress=Progress("finetune", listeners=[look]), **options, **more
            )
        saved = run.newest()
        assert saved is not None and saved.kind == "checkpoint" and saved.step >= 2
        return saved.step, history(tmp_path / name / f"checkpoint-{saved.step}")

    step, losses = stopped("three", num_workers=3, gradient_accumulation_steps=2)
    _, alone = stopped("alone", num_workers=0)
    assert len(losses) == step
    assert all(abs(losses[number] - alone[number]) < 1e-5 for number in (1, 2))

    for more, workers in ((step + 1, 2), (step + 2, 0)):  # the number of workers does not identify a run
        made = finetune(
            tmp_path / "three", num_workers=workers, gradient_accumulation_steps=2, max_steps=more, **options
        )
        assert made.step == more and made.checkpoints == list(range(step, more + 1))
    assert {step, step + 1, step + 2} <= history(tmp_path / "three" / f"checkpoint-{more}").keys()


def test_without_workers_the_command_trains_in_its_own_process(
    finetune, train, base_without_dropout: Path, train_set: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import shutil

    alone = train(tmp_path / "alone", base=base_without_dropout, **QUICK)
    bar = Progress("finetune", 4)
    with caplog.at_level(logging.INFO):
        made = finetune(tmp_path / "here", num_workers=0, progress=bar)
    assert made.step == 4 and bar.done == 4 and caplog.text.count("step 4/4: loss") == 1
    losses = history(tmp_path / "here" / "checkpoint-4")
    assert all(abs(losses[step] - alone.losses[step]) < 1e-5 for step in alone.losses)
    broken = Path(shutil.copytree(train_set, tmp_path / "broken"))
    next(broken.rglob("episode_000001.mp4")).write_bytes(b"no video")
    with pytest.raises(DataError, match="episode_000001"):
        finetune(tmp_path / "run", num_workers=0, dataset=broken)


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_the_run_ends_the_same(
    train_set: Path, base: Path, whole: Path, tmp_path: Path
) -> None:
    from groot_ray.train.ray.launcher import finetune

    output = tmp_path / "run"

    def kill() -> None:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            pid = worker_process()
            if pid is not None and list(output.glob("recovery/step-*/manifest.json")):
                os.kill(pid, signal.SIGKILL)
                return
            time.sleep(0.02)

    killer = threading.Thread(target=kill)
    killer.start()
    bar = Progress("finetune", STEPS)
    options = {**killed_run.OPTIONS, "max_steps": STEPS}
    made = finetune(
        open_location(train_set), open_location(output), model=ModelOptions(base=str(base)),
        training=TrainingOptions(**options), cache=str(tmp_path / "cache"), progress=bar,
    )  # fmt: skip
    killer.join()
    assert made.step == STEPS and bar.done == STEPS
    assert largest_difference(whole, output / f"checkpoint-{STEPS}") == 0
    assert history(whole) == history(output / f"checkpoint-{STEPS}")


@pytest.mark.slow
def test_a_killed_driver_is_taken_over_and_the_run_ends_the_same(
    train_set: Path, base: Path, whole: Path, tmp_path: Path
) -> None:
    from groot_ray.train.ray.launcher import finetune

    output = tmp_path / "run"
    process = start("--ray", str(train_set), str(base), str(output), str(tmp_path / "cache"), str(STEPS))
    wait_for_recovery(output, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    made = finetune(
        open_location(train_set), open_location(output), model=ModelOptions(base=str(base)),
        training=TrainingOptions(max_steps=STEPS, **killed_run.OPTIONS), cache=str(tmp_path / "cache"),
    )  # fmt: skip
    assert made.step == STEPS and [attempt.number for attempt in attempts(open_location(output / ".groot-ray"))] == [
        1,
        2,
    ]
    assert largest_difference(whole, output / f"checkpoint-{STEPS}") == 0


def test_a_finished_run_is_recognized_and_more_steps_continue_it(finetune, tmp_path: Path) -> None:
    first = finetune(tmp_path / "run", max_steps=1, num_workers=0)
    again = finetune(tmp_path / "run", max_steps=1, num_workers=0)
    assert again.already_done and not first.already_done and again.weights == first.weights
    bar = Progress("finetune", 2)
    more = finetune(tmp_path / "run", max_steps=2, num_workers=0, progress=bar)
    assert more.checkpoints == [1, 2] and bar.done == 2
    assert {"loss", "lr", "samples/s", "waiting for data"} <= bar.fields.keys()


@pytest.mark.slow
def test_errors_of_workers_reach_the_user_unwrapped(finetune, train_set: Path, tmp_path: Path) -> None:
    import shutil

    broken = Path(shutil.copytree(train_set, tmp_path / "broken"))
    next(broken.rglob("episode_000001.mp4")).write_bytes(b"no video")
    with pytest.raises(DataError, match="episode_000001"):
        finetune(tmp_path / "run", dataset=broken)
    with pytest.raises(ConfigurationError, match="is not a dataset"):
        finetune(tmp_path / "other", dataset=tmp_path / "nothing")
