"""What the end of a driver must look like."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from benchmarks.soak.driver import Driver
from benchmarks.soak.faults import DRIVER, Fault
from groot_ray.errors import ServiceUnavailableError, StoppedError, TemporaryFailureError

RACE_SECONDS = 3.0  # a signal this long before a driver's successful end may have come too late
STOP_SECONDS = 60.0  # from a signal to the driver's end
RETRIED = (ServiceUnavailableError.exit_code, TemporaryFailureError.exit_code)


@dataclass
class Kill:
    """A fault that has happened: when (`time.monotonic`), to which processes, and to which run of the driver."""

    fault: Fault
    at: float
    pids: list[int]
    run: int


def check_end(driver: Driver, ended: float, kills: list[Kill], complete: bool) -> list[str]:
    """What is wrong with the end of a driver that had these kills; `complete`: the results are."""
    code, problems = driver.code, []
    to_driver = [kill for kill in kills if kill.fault.target == DRIVER]
    signals = {kill.fault.number for kill in to_driver}
    if code == 0:
        if not complete:
            problems.append("exit code 0 without a complete result")
        if to_driver and ended - to_driver[-1].at > RACE_SECONDS:
            late = ended - to_driver[-1].at
            problems.append(f"went on for {late:.0f} s after SIG{to_driver[-1].fault.signal} and ended with 0")
    elif not kills:
        problems.append(f"exit code {code} without a fault")
    elif not _allowed(code, signals):
        problems.append(f"exit code {code}")
    if code != 0 and to_driver and ended - to_driver[0].at > STOP_SECONDS:
        problems.append(f"took {ended - to_driver[0].at:.0f} s to end after SIG{to_driver[0].fault.signal}")
    broken = driver.broken_lines()
    if broken:
        problems.append(f"the output has {len(broken)} x {broken[0].strip()[:80]!r}")
    return problems


def _allowed(code: int | None, signals: set[int]) -> bool:
    if code in RETRIED:
        return True
    if code == StoppedError.exit_code:
        return signal.SIGINT in signals
    return any(code in (-number, 128 + number) for number in signals)


def check_losses(driver: Driver, reference: dict[int, str]) -> list[str]:
    """Losses that were printed with other values than those of the undisturbed run."""
    wrong = [(step, loss) for step, loss in driver.losses() if reference.get(step) != loss]
    return [f"printed loss {loss} at step {step}, not {reference.get(step)}" for step, loss in wrong[:1]]
