"""Which faults a trial has: a function of its seed."""

from __future__ import annotations

import random
import signal
from dataclasses import dataclass
from typing import Literal

from benchmarks.soak.pipeline import CHECKPOINTS, STAGES, STEPS

FAULTS = (2, 4)  # of a trial, fewest and most
STORAGE = "storage"
DRIVER = "driver"


@dataclass(frozen=True)
class Moment:
    """When a fault happens, and how much later.

    Attributes:
        kind: `start` of the stage, a `line` of the driver's output, or a `file` in storage.
        what: regular expression of the line, or glob of the file below the experiment's folder.
        delay: seconds after it.
    """

    kind: Literal["start", "line", "file"]
    what: str = ""
    delay: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} {self.what}".strip() + (f" + {self.delay:.2f} s" if self.delay else "")


@dataclass(frozen=True)
class Fault:
    """A signal to a target at a moment in a stage.

    Attributes:
        signal: name of the signal; for the storage server, KILL is followed by a new start, STOP by SIGCONT.
        count: how many times the driver gets it, or how many workers.
        gap: seconds between two, or for which the storage server is away.
    """

    stage: str
    moment: Moment
    target: str
    signal: str
    count: int = 1
    gap: float = 0.0

    @property
    def number(self) -> int:
        """The signal's number."""
        return int(getattr(signal, f"SIG{self.signal}"))

    def __str__(self) -> str:
        twice = " twice" if self.count == 2 else ""
        return f"{self.stage}: SIG{self.signal}{twice} to {self.target} at {self.moment}"


def choose_faults(seed: int, trial: int, storage: str, workers: int, killable: bool, files: bool) -> list[Fault]:
    """The faults of a trial in the order of the stages; each waits until the one before has happened.

    Args:
        storage: local or s3.
        killable: whether the storage server keeps its data if it is killed.
        files: whether files in storage can be watched.
    """
    rng = random.Random(f"{seed}/{trial}")
    stages = sorted((_stage(rng) for _ in range(rng.randint(*FAULTS))), key=STAGES.index)
    return [_fault(rng, stage, storage == "s3", workers, killable, files) for stage in stages]


def _stage(rng: random.Random) -> str:
    return rng.choices(STAGES, (2, 4, 6, 3))[0]


def _fault(rng: random.Random, stage: str, s3: bool, workers: int, killable: bool, files: bool) -> Fault:
    targets = {DRIVER: 5}
    if s3:
        targets[STORAGE] = 2
    if stage == "convert":
        targets |= {"convert worker": 3, "raylet": 1, "gcs": 1}
    if stage == "finetune":
        targets |= {"train worker": 3, "controller": 1, "raylet": 1, "gcs": 1} if workers else {"raylet": 1, "gcs": 1}
    if stage == "evaluate":
        targets |= {"raylet": 1, "gcs": 1}
    target = rng.choices(list(targets), list(targets.values()))[0]
    return Fault(stage, _moment(rng, stage, files), target, *_signal(rng, target, killable))


def _signal(rng: random.Random, target: str, killable: bool) -> tuple[str, int, float]:
    """Signal, count and gap."""
    if target == STORAGE:
        return rng.choice(["KILL", "STOP"] if killable else ["STOP"]), 1, round(rng.uniform(0.5, 12), 1)
    if target == DRIVER:
        name = rng.choice(["KILL", "TERM", "INT"])
        twice = name != "KILL" and rng.random() < 0.3
        return name, 2 if twice else 1, round(rng.uniform(0, 1.5), 2) if twice else 0.0
    several = target.endswith("worker") and rng.random() < 0.25
    return ("TERM" if rng.random() < 0.25 else "KILL"), 2 if several else 1, 0.0


def _moment(rng: random.Random, stage: str, files: bool) -> Moment:
    moments = _moments(rng, stage)
    if not files:
        moments = [moment for moment in moments if moment.kind != "file"]
    return rng.choice(moments)


def _moments(rng: random.Random, stage: str) -> list[Moment]:
    def later(most: float) -> float:
        return round(rng.uniform(0, most), 2)

    # A driver that gets a signal before Python has read the program's first line is not the program's matter.
    if stage == "download":
        return [Moment("start", delay=1 + later(4))]
    if stage == "convert":
        return [
            Moment("start", delay=later(8)),
            Moment("start", delay=4 + later(6)),
            Moment("file", "convert/*/train/videos/*/*/*", later(0.5)),
            Moment("file", "convert/*/conversion/ledger/*", later(0.3)),
            Moment("file", "convert/*/test/meta/*", later(0.3)),
        ]
    if stage == "finetune":
        step, checkpoint = rng.randint(1, STEPS), rng.choice(CHECKPOINTS)
        return [
            Moment("start", delay=later(12)),
            Moment("line", rf"step {step}/{STEPS}:", later(0.3)),
            Moment("line", rf"checkpoint of step {checkpoint} saved", later(0.3)),
            Moment("file", f"finetune/*/checkpoint-{checkpoint}/*", later(0.2)),
            Moment("file", "finetune/*/recovery/*/*", later(0.2)),
        ]
    return [
        Moment("start", delay=later(5)),
        Moment("file", "evaluate/*/metrics.json"),
        Moment("file", "evaluate/*/attempts/*", later(3)),
    ]
