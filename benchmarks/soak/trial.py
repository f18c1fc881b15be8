"""One trial in its own process: the pipeline with its faults, run again until it is done, then compared."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.soak.checks import Kill, check_end, check_losses
from benchmarks.soak.driver import Driver
from benchmarks.soak.faults import DRIVER, STORAGE, Fault
from benchmarks.soak.pipeline import NAME, Setup
from benchmarks.soak.processes import Found, adopt_orphans, descendants, reap
from benchmarks.soak.results import check_records, compare, complete, read_results
from benchmarks.soak.server import BUCKET, Server

POLL_SECONDS = 0.02
HANG_SECONDS = 420.0  # without a line of output
GONE_SECONDS = 10.0  # in which the processes of a driver end that could end them
GONE_ALONE_SECONDS = 90.0  # in which Ray's processes end by themselves, if the driver, raylet or GCS was killed
HEADS = (DRIVER, "raylet", "gcs")  # what ends Ray's other processes
MOST_RUNS = 12
LIBRARIES = ("ray", "torchinductor_root")  # what libraries leave in TMPDIR


@dataclass
class Outcome:
    """What a trial has shown, for the report."""

    trial: int
    faults: list[str]
    kills: list[dict[str, Any]] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    codes: list[int | None] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    stayed: dict[str, float] = field(default_factory=dict)  # by role, most seconds after the end of its driver
    left: list[str] = field(default_factory=list)  # in TMPDIR at the end, without Ray's sessions
    seconds: float = 0.0
    output: str = ""
    results: dict[str, str] = field(default_factory=dict)
    losses: dict[str, str] = field(default_factory=dict)


@dataclass
class Staying:
    """A process that its driver has left, since when, and how long it may stay."""

    found: Found
    run: int
    since: float
    limit: float


class Trial:
    """Runs the pipeline in `setup` with `faults`. Without a `reference` it is one, and compares nothing."""

    def __init__(
        self, number: int, setup: Setup, faults: list[Fault], server: Server | None, reference: dict[str, Any] | None
    ) -> None:
        self.setup, self.server, self.reference = setup, server, reference
        self.waiting = list(faults)
        self.kills: list[Kill] = []
        self.runs: list[Driver] = []
        self.outcome = Outcome(number, [str(fault) for fault in faults])
        self._back: float | None = None  # when the storage server answers again
        self._second: tuple[float, Kill] | None = None  # a second signal to the driver
        self._staying: list[Staying] = []

    def run(self) -> Outcome:
        """Run the trial; all its processes have ended when this returns."""
        adopt_orphans()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("the soak was ended"))  # so that `_end_all` runs
        # A shell starts what runs in its background with SIGINT ignored, and drivers would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        begun = time.monotonic()
        try:
            self._prepare()
            while not self._once():
                if len(self.runs) >= MOST_RUNS:
                    self.outcome.problems.append(f"not done after {MOST_RUNS} runs")
                    break
            self._wait_until_gone()
            self._compare()
        finally:
            self._end_all()
        self._report(time.monotonic() - begun)
        return self.outcome

    def _prepare(self) -> None:
        if self.server is not None:
            self.server.start()
            self.server.create_bucket()
            os.environ.update(self.server.environment)
        self.uri = f"s3://{BUCKET}" if self.server is not None else str(self.setup.local)
        self.setup.prepare(self.uri)

    def _once(self) -> bool:
        """One run of the driver; whether the pipeline is done."""
        environment = self.setup.environment(self.server.environment if self.server is not None else {})
        driver = Driver(self.setup.command(), environment, self.setup.folder)
        self.runs.append(driver)
        hung = False
        while driver.running:
            self._advance(driver)
            if not hung and time.monotonic() - max([driver.begun, *(at for at, _ in driver.lines[-1:])]) > HANG_SECONDS:
                hung = True
                self.outcome.problems.append(f"run {len(self.runs)} hangs: no output for {HANG_SECONDS:.0f} s")
                driver.process.send_signal(signal.SIGABRT)  # faulthandler prints its stacks
            time.sleep(POLL_SECONDS)
        ended = time.monotonic()
        self._second = None
        self._storage_back(now=True)
        driver.finish_reading()
        self.outcome.codes.append(driver.code)
        kills = [kill for kill in self.kills if kill.run == len(self.runs)]
        self._leave(ended, kills)
        problems = check_end(driver, ended, kills, driver.code != 0 or complete(self._results()))
        if self.reference is not None:
            problems += check_losses(driver, {int(step): loss for step, loss in self.reference["losses"].items()})
        if not hung:
            self.outcome.problems += [f"run {len(self.runs)}: {problem}" for problem in problems]
        return driver.code == 0 and not hung

    def _advance(self, driver: Driver) -> None:
        """Do what is due now."""
        now = time.monotonic()
        self._storage_back()
        if self._staying:
            self._look_who_stays()
        if self._second is not None and now >= self._second[0]:
            driver.process.send_signal(self._second[1].fault.number)
            self._second = None
        if self.waiting and self._back is None and self._second is None and self._due(driver, self.waiting[0]):
            kill = self._fire(driver, self.waiting[0])
            if kill is not None:
                self.kills.append(kill)
                self.waiting.pop(0)

    def _due(self, driver: Driver, fault: Fault) -> bool:
        begun = driver.stage_begun(fault.stage)
        if begun is None:
            return False
        moment = fault.moment
        if moment.kind == "start":
            at = begun
        elif moment.kind == "line":
            at = driver.first(moment.what) or float("inf")
        else:
            at = self._first_seen(driver, moment.what)
        return time.monotonic() >= at + moment.delay

    def _first_seen(self, driver: Driver, pattern: str) -> float:
        """When this run first saw a file in storage; files of an earlier run count from the start of this one."""
        seen = driver.__dict__.setdefault("seen", {})
        if pattern not in seen and any(self._stored().glob(pattern)):
            seen[pattern] = time.monotonic()
        return float(seen.get(pattern, "inf"))

    def _stored(self) -> Path:
        """The folder of the experiment, also inside a storage server."""
        if self.server is None:
            return self.setup.local / NAME
        assert self.server.data is not None
        return self.server.data / BUCKET / NAME

    def _fire(self, driver: Driver, fault: Fault) -> Kill | None:
        """Send the signal; None if there is no such process now."""
        now = time.monotonic()
        if fault.target == STORAGE:
            assert self.server is not None
            pids = [self.server.pid]
            (self.server.kill if fault.signal == "KILL" else self.server.pause)()
            self._back = now + fault.gap
        elif fault.target == DRIVER:
            pids = [driver.process.pid]
            driver.process.send_signal(fault.number)
        else:
            pids = [found.pid for found in self._targets(fault) if found.signal(fault.number)]
            if not pids:
                return None
        kill = Kill(fault, now, pids, len(self.runs))
        if fault.target == DRIVER and fault.count == 2:
            self._second = (now + fault.gap, kill)
        return kill

    def _targets(self, fault: Fault) -> list[Found]:
        old = {each.found.pid for each in self._staying}
        return [found for found in self._below() if found.role == fault.target and found.pid not in old][: fault.count]

    def _below(self) -> list[Found]:
        """The trial's processes without the storage server."""
        own = {driver.process.pid for driver in self.runs} | {self.server.pid if self.server is not None else 0}
        reap(own)
        return descendants({self.server.pid} if self.server is not None else set())

    def _storage_back(self, now: bool = False) -> None:
        if self._back is not None and (now or time.monotonic() >= self._back):
            assert self.server is not None
            self._back = None
            if self.server.pid:
                self.server.resume()
            else:
                self.server.start()

    def _leave(self, ended: float, kills: list[Kill]) -> None:
        """Note the processes that a driver has left, and wait for them unless it was killed.

        After a kill the next run begins at once, as that of a Job would, beside what is left of this one.
        """
        alone = any(kill.fault.target in HEADS and kill.fault.signal == "KILL" for kill in kills)
        limit = GONE_ALONE_SECONDS if alone else GONE_SECONDS
        known = {staying.found.pid for staying in self._staying}
        below = [found for found in self._below() if found.pid not in known]
        self._staying += [Staying(found, len(self.runs), ended, limit) for found in below]
        if not alone:
            self._wait_until_gone()

    def _wait_until_gone(self) -> None:
        while self._look_who_stays():
            time.sleep(0.1)

    def _look_who_stays(self) -> bool:
        """Note how long processes stay, end those that stay too long; whether any is left."""
        running = {(found.pid, found.started) for found in self._below()}
        stayed, now = self.outcome.stayed, time.monotonic()
        over: dict[int, list[Staying]] = {}
        self._staying = [each for each in self._staying if (each.found.pid, each.found.started) in running]
        for each in self._staying:
            role = each.found.role
            stayed[role] = round(max(stayed.get(role, 0.0), now - each.since), 1)
            if now - each.since > each.limit:
                over.setdefault(each.run, []).append(each)
                each.found.signal(signal.SIGKILL)
        for run, them in over.items():
            names = ", ".join(f"{each.found.role} ({each.found.command[:60]})" for each in them[:4])
            self.outcome.problems.append(f"run {run}: {len(them)} processes left after {them[0].limit:.0f} s: {names}")
        return bool(self._staying)

    def _results(self) -> dict[str, str]:
        return read_results(f"{self.uri}/{NAME}")

    def _compare(self) -> None:
        self.outcome.results = self._results()
        self.outcome.problems += check_records(f"{self.uri}/{NAME}")
        if self.reference is not None:
            self.outcome.problems += compare(self.reference["results"], self.outcome.results)

    def _end_all(self) -> None:
        for found in self._below():
            found.signal(signal.SIGKILL)
        if self.server is not None:
            self.server.kill()

    def _report(self, seconds: float) -> None:
        outcome = self.outcome
        outcome.seconds = round(seconds, 1)
        outcome.missed = [str(fault) for fault in self.waiting]
        outcome.kills = [{**asdict(kill.fault), "run": kill.run, "processes": len(kill.pids)} for kill in self.kills]
        outcome.losses = {str(step): loss for driver in self.runs for step, loss in driver.losses()}
        temporary = self.setup.folder / "t"
        outcome.left = sorted(path.name for path in temporary.iterdir() if path.name not in LIBRARIES)
        if outcome.problems or self.reference is None:
            outcome.output = "\n\n".join(
                f"run {number}, exit code {driver.code}, faults: "
                + "; ".join(
                    f"{kill.fault} (at {kill.at - driver.begun:.2f} s)" for kill in self.kills if kill.run == number
                )
                + f"\n{driver.text()}"
                for number, driver in enumerate(self.runs, 1)
            )
