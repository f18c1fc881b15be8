"""Command line of the soak: runs trials side by side, each in its own process, until time or kills are used up."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.soak.dataset import write_dataset
from benchmarks.soak.faults import choose_faults
from benchmarks.soak.pipeline import REPOSITORY, Setup
from benchmarks.soak.report import print_report, stayed
from benchmarks.soak.server import Server
from benchmarks.soak.trial import Trial

REFERENCE = -1  # number of the undisturbed trial


def main() -> int:
    options = parse()
    if options.trial is not None:
        return run_trial(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # trials end with this process
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir=options.folder))
    try:
        write_dataset(folder / "data")
        return Soak(options, folder).run()
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="chooses all faults")
    parser.add_argument("--minutes", type=float, help="start no new trial after so many minutes")
    parser.add_argument("--kills", type=int, help="start no new trial after so many kills")
    parser.add_argument("--only", type=int, help="repeat this trial alone")
    parser.add_argument("--first", type=int, default=0, help="number of the first trial")
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--parallel", type=int, default=max(1, cores // 2), help="trials side by side (cores / 2)")
    parser.add_argument("--storage", choices=["local", "s3"], default="local")
    parser.add_argument("--minio", type=Path, help="MinIO binary; moto without it, which can be paused but not killed")
    parser.add_argument("--workers", type=int, choices=[0, 1, 2], default=1, help="num_workers of the training")
    parser.add_argument("--folder", type=Path, default=Path("/tmp"), help="where to work; a short path (Ray's sockets)")
    parser.add_argument("--out", type=Path, help="JSON report")
    parser.add_argument("--keep", action="store_true", help="keep the folders of failed trials")
    parser.add_argument("--trial", type=int, help=argparse.SUPPRESS)  # run by a soak, in its --folder and slot
    parser.add_argument("--slot", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def run_trial(options: argparse.Namespace) -> int:
    """Run one trial in the soak's folder and write its outcome beside its own folder."""
    folder: Path = options.folder / str(options.slot)
    shutil.rmtree(folder, ignore_errors=True)
    setup = Setup(folder, options.folder / "data", options.workers)
    server = Server(folder / "s3", options.minio) if options.storage == "s3" else None
    reference, faults = None, []
    if options.trial != REFERENCE:
        reference = json.loads(outcome_file(options.folder, REFERENCE, options.slot).read_text())
        watchable = options.storage == "local" or options.minio is not None
        faults = choose_faults(
            options.seed, options.trial, options.storage, options.workers, options.minio is not None, watchable
        )
    trial = Trial(options.trial, setup, faults, server, reference)
    outcome = trial.run()
    outcome_file(options.folder, options.trial, options.slot).write_text(json.dumps(asdict(outcome)))
    if options.keep and outcome.problems:
        folder.rename(options.folder / f"failed-{options.trial}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def outcome_file(folder: Path, trial: int, slot: int) -> Path:
    """Where a trial's process leaves its outcome."""
    return folder / (f"reference-{slot}.json" if trial == REFERENCE else f"trial-{trial}.json")


class Soak:
    """Runs trials in `parallel` slots, and reports.

    Results name their own paths, so a slot uses one folder for its reference and, one after the other, its trials.
    """

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.outcomes: list[dict[str, Any]] = []
        self._next = options.first
        self._lock = threading.Lock()
        self._begun = time.monotonic()
        self._stopping = self._broken = False
        self._cores = sorted(os.sched_getaffinity(0))

    def run(self) -> int:
        """Run; 0 if no trial has failed."""
        if self.options.only is not None:
            self._work(0)
        else:
            self._run_side_by_side()
        self._report()
        return 1 if self._broken or any(outcome["problems"] for outcome in self.outcomes) else 0

    def _run_side_by_side(self) -> None:
        threads = [
            threading.Thread(target=self._work, args=(slot,), daemon=True) for slot in range(self.options.parallel)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            print("finishing the trials that run", flush=True)
            self._stopping = True
            for thread in threads:
                thread.join()

    def _work(self, slot: int) -> None:
        """Make the reference of a slot, then run trials in it."""
        reference = self._trial(REFERENCE, slot)
        if reference["problems"]:
            print(reference["output"], "the undisturbed run failed:", *reference["problems"], sep="\n", flush=True)
            self._broken = self._stopping = True
            return
        print(f"reference {slot}: {reference['seconds']:.0f} s, {len(reference['results'])} files", flush=True)
        while (number := self._take()) is not None:
            self._keep(self._trial(number, slot))

    def _take(self) -> int | None:
        """The next trial's number, or None if the soak is over."""
        with self._lock:
            if self.options.only is not None:
                return None if self.outcomes else int(self.options.only)
            minutes, kills = self.options.minutes, self.options.kills
            if minutes is None and kills is None:
                kills = 10
            done = sum(len(outcome["kills"]) for outcome in self.outcomes)
            over = minutes is not None and time.monotonic() - self._begun > 60 * minutes
            if self._stopping or over or (kills is not None and done >= kills):
                return None
            self._next += 1
            return self._next - 1

    def _trial(self, number: int, slot: int) -> dict[str, Any]:
        """Run a trial in a separate process, on its share of the cores."""
        options = self.options
        command = [sys.executable, "-m", "benchmarks.soak", "--trial", str(number), "--folder", str(self.folder)]
        command += ["--seed", str(options.seed), "--storage", options.storage, "--workers", str(options.workers)]
        command += ["--minio", str(options.minio)] if options.minio else []
        command += ["--slot", str(slot)]
        command += ["--keep"] if options.keep else []
        share = max(2, len(self._cores) // options.parallel)
        cores = {self._cores[(slot * share + i) % len(self._cores)] for i in range(share)}
        paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
        process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C ends the soak after the trials that run
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        said, _ = process.communicate()
        path = outcome_file(self.folder, number, slot)
        if process.returncode or not path.exists():
            problem = f"the soak itself failed ({process.returncode}): {said[-3000:]}"
            return {"trial": number, "faults": [], "kills": [], "missed": [], "codes": [], "problems": [problem],
                    "stayed": {}, "left": [], "seconds": 0, "output": said, "results": {}, "losses": {}}  # fmt: skip
        return dict(json.loads(path.read_text()))

    def _keep(self, outcome: dict[str, Any]) -> None:
        with self._lock:
            outcome.pop("results")
            self.outcomes.append(outcome)
            kills = sum(len(each["kills"]) for each in self.outcomes)
            result = "; ".join(outcome["problems"]) or "equal"
            codes = ", ".join(map(str, outcome["codes"]))
            print(
                f"[{(time.monotonic() - self._begun) / 60:5.1f} min, {kills} kills] trial {outcome['trial']}: "
                f"{len(outcome['kills'])} kills, exit codes {codes}, {outcome['seconds']:.0f} s: {result[:400]}",
                flush=True,
            )
            if self.options.out:
                self._write_report(time.monotonic() - self._begun)

    def _report(self) -> None:
        seconds = time.monotonic() - self._begun
        o = self.options
        command = f"python -m benchmarks.soak --storage {o.storage} --workers {o.workers} --seed {o.seed}"
        command += f" --minio {o.minio}" if o.minio else ""
        print()
        print_report(self.outcomes, o.seed, command)
        print(f"\n{seconds / 60:.1f} minutes; processes that stayed after their driver: {stayed(self.outcomes)}")
        if o.out:
            self._write_report(seconds)

    def _write_report(self, seconds: float) -> None:
        options = {name: value if value is None else str(value) for name, value in vars(self.options).items()}
        content = {"options": options, "seconds": round(seconds), "trials": self.outcomes}
        partial = self.options.out.with_suffix(".part")
        partial.write_text(json.dumps(content, indent=1) + "\n")
        partial.replace(self.options.out)


if __name__ == "__main__":
    sys.exit(main())
