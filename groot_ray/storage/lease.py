"""Attempts at a stage, and the lease that prevents two of them from writing at the same time.

Attempt N is claimed by creating `attempts/N.json`, which only one process can do, and kept by a heartbeat,
`attempts/N.heartbeat.json`. It is over when `attempts/N.end.json` records its end, or when it has been silent for
`silence()` seconds. Only then can N+1 be claimed. A holder that only seemed dead (a suspended machine, a lost
connection) finds N+1 before its next commit and stops.

Silence is measured twice, and the longer one counts: by the storage's clock, and by how long this process has seen the
same heartbeat on its own monotonic clock. So a heartbeat from the future (a clock that was set back) delays a takeover
by one silence, not until the clocks catch up.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from groot_ray.errors import GrootRayError, StoppedError, TemporaryFailureError
from groot_ray.progress import format_duration
from groot_ray.storage.location import Location
from groot_ray.termination import EndedBySignal

log = logging.getLogger(__name__)

ATTEMPTS = "attempts"

# (folder, attempt): versions of its signs when last seen, and since when (monotonic seconds) they have been the same.
_seen: dict[tuple[str, int], tuple[tuple[str, ...], float]] = {}


def silence() -> float:
    """Seconds without a heartbeat after which an attempt counts as dead (GROOT_RAY_LEASE_SILENCE, 90)."""
    return float(os.environ.get("GROOT_RAY_LEASE_SILENCE", "90"))


class Lease(Protocol):
    """The right to write into a folder; picklable. `Ticket` and `Attempt` are leases."""

    def check(self) -> None:
        """Raise TemporaryFailureError if another attempt has taken over, StoppedError if a stop was requested."""
        ...


@dataclass(frozen=True)
class AttemptState:
    """State of an attempt, read from storage.

    Attributes:
        holder: the process that claimed it.
        code, sentence: how it ended.
        age: seconds since the last heartbeat.
    """

    number: int
    owner: str
    holder: dict[str, Any]
    ended: bool
    code: int | None
    sentence: str
    age: float

    @property
    def alive(self) -> bool:
        """Whether it counts as running: no end, a recent heartbeat, and its process has not been seen to end."""
        return not self.ended and self.age < silence() and not process_is_gone(self.holder)

    @property
    def who(self) -> str:
        """Its process, for messages."""
        return f"attempt {self.number} (process {self.holder.get('pid')} on {self.holder.get('host')})"


@dataclass(frozen=True)
class Ticket:
    """Identifies an attempt and checks that it still holds the lease. Sent to Ray workers; has no heartbeat.

    `check` of a `stoppable` ticket also raises if a stop was requested, for work that can stop at any commit.
    Training saves first, so it calls `stop_requested` itself.
    """

    folder: Location
    number: int
    owner: str
    stoppable: bool = False

    def check(self) -> None:
        """Check the lease; call this before each commit.

        Raises:
            TemporaryFailureError: a later attempt has taken over.
            StoppedError: a stop was requested, and the ticket is stoppable.
        """
        where = f"attempt {self.number} at {self.folder.uri}"
        if (self.folder / ATTEMPTS / f"{self.number + 1}.json").exists():
            raise TemporaryFailureError(f"{where} was taken over by a later attempt and stops")
        if self.stoppable and self.stop_requested():
            raise StoppedError(f"{where} was stopped; run the same command to continue")

    def stop_requested(self) -> bool:
        """Whether this attempt was asked to stop (`request_stop`)."""
        return _file(self.folder, self.number, "stop").exists()


class Attempt:
    """A claimed attempt with its heartbeat; a context manager that records how it ended. Pickles as its `Ticket`."""

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self._stopping = threading.Event()
        self._ended = False
        self._beats = 0
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat-{ticket.number}", daemon=True)
        self._thread.start()

    @property
    def number(self) -> int:
        """Number of this attempt at the stage, from 1."""
        return self.ticket.number

    @property
    def folder(self) -> Location:
        """The stage's folder."""
        return self.ticket.folder

    @property
    def stoppable(self) -> Ticket:
        """The ticket for work that can stop at any commit."""
        return replace(self.ticket, stoppable=True)

    def check(self) -> None:
        """See `Ticket.check`."""
        self.ticket.check()

    def stop_requested(self) -> bool:
        """See `Ticket.stop_requested`."""
        return self.ticket.stop_requested()

    def hand_over(self) -> None:
        """Stop the heartbeat without recording an end, because another process has adopted the attempt."""
        self._stopping.set()
        self._thread.join(timeout=5)
        self._ended = True

    def end(self, code: int, sentence: str) -> None:
        """Stop the heartbeat and record the exit code and a message; only the first end counts."""
        self._stopping.set()
        self._thread.join(timeout=5)
        if self._ended:
            return
        self._ended = True
        _file(self.folder, self.number, "end").create_json(
            {"number": self.number, "owner": self.ticket.owner, "code": code, "sentence": sentence, "at": _now()}
        )

    def __enter__(self) -> Attempt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        code, sentence = outcome_of(error)
        try:
            self.end(code, sentence)
        except GrootRayError as trouble:  # without storage, the heartbeat just stops
            log.warning("the end of attempt %d could not be recorded: %s", self.number, trouble)

    def __reduce__(self) -> tuple[Any, ...]:
        ticket = self.ticket
        return Ticket, (ticket.folder, ticket.number, ticket.owner, ticket.stoppable)

    def _beat(self) -> None:
        target = _file(self.folder, self.number, "heartbeat")
        while not self._stopping.wait(max(silence() / 6, 0.05)):
            self._beats += 1
            try:
                target.write_json({"owner": self.ticket.owner, "beats": self._beats, "at": _now()})
            except GrootRayError as error:
                log.warning("the heartbeat of attempt %d could not be written: %s", self.number, error)


def claim_attempt(
    folder: Location,
    *,
    wait: bool = True,
    about: dict[str, Any] | None = None,
    name: Callable[[int], dict[str, Any]] | None = None,
    until: Callable[[], bool] | None = None,
    poll: float = 2.0,
) -> Attempt | None:
    """Claim the next attempt at the stage in `folder`.

    Args:
        wait: if another attempt is running, wait for its end, checking every `poll` seconds.
        about: fields for the attempt's record, such as a submission ID; those of `name(number)` are added.
        until: called before each claim; once it is true (the stage is done), None is returned.

    Raises:
        TemporaryFailureError: another attempt is running and `wait` is False.
    """
    owner = uuid.uuid4().hex
    reported = 0
    while True:
        if until is not None and until():
            return None
        last = last_attempt(folder)
        if last is not None and last.alive:
            if not wait:
                raise TemporaryFailureError(f"{last.who} is running at {folder.uri}; wait for it, or stop it")
            if reported != last.number:
                log.info(
                    "%s is running at %s (last heartbeat %s ago); waiting, takeover after %s without a heartbeat",
                    last.who, folder.uri, format_duration(last.age), format_duration(silence()),
                )  # fmt: skip
                reported = last.number
            time.sleep(min(poll, max(silence() - last.age, 0.05)))
            continue
        number = 1 if last is None else last.number + 1
        holder = {**this_process(), **(about or {}), **(name(number) if name is not None else {})}
        record = {"number": number, "owner": owner, "holder": holder, "at": _now()}
        if (folder / ATTEMPTS / f"{number}.json").create_json(record):
            if last is not None and not last.ended:
                log.warning("%s at %s is dead; attempt %d continues its work", last.who, folder.uri, number)
            return Attempt(Ticket(folder, number, owner))


def adopt_attempt(folder: Location, number: int, owner: str) -> Attempt:
    """Take over the heartbeat of an attempt that another process claimed for this one: a Job claims for its driver.

    Raises:
        TemporaryFailureError: the attempt has another owner, has ended, or a later one exists.
    """
    state = _state(folder, number, _names(folder))
    if state is None or state.owner != owner or state.ended:
        raise TemporaryFailureError(f"attempt {number} at {folder.uri} cannot be resumed; claim a new attempt")
    ticket = Ticket(folder, number, owner)
    ticket.check()
    _file(folder, number, "adopted").write_json(
        {"number": number, "owner": owner, "holder": this_process(), "at": _now()}
    )
    return Attempt(ticket)


def last_attempt(folder: Location) -> AttemptState | None:
    """The newest attempt at the stage in `folder`, or None before the first."""
    names = _names(folder)
    number = max((int(name[:-5]) for name in names if name[:-5].isdigit()), default=0)
    return _state(folder, number, names) if number else None


def attempts(folder: Location) -> list[AttemptState]:
    """All attempts at the stage in `folder`, oldest first."""
    names = _names(folder)
    numbers = sorted(int(name[:-5]) for name in names if name[:-5].isdigit())
    return [state for number in numbers if (state := _state(folder, number, names)) is not None]


def request_stop(folder: Location) -> bool:
    """Ask the running attempt to stop at its next commit; returns False if none is running."""
    last = last_attempt(folder)
    if last is None or not last.alive:
        return False
    _file(folder, last.number, "stop").create_json({"number": last.number, "at": _now(), "by": this_process()})
    return True


def end_attempt(folder: Location, state: AttemptState, code: int, sentence: str) -> None:
    """Record the end of an attempt whose process is known to have ended; only the first end counts."""
    _file(folder, state.number, "end").create_json(
        {"number": state.number, "owner": state.owner, "code": code, "sentence": sentence, "at": _now()}
    )


def outcome_of(error: BaseException | None) -> tuple[int, str]:
    """Exit code and message for how a block of work ended."""
    if error is None:
        return 0, "done"
    if isinstance(error, GrootRayError | EndedBySignal):
        return error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt):
        return StoppedError.exit_code, "stopped by a person"
    return 1, f"{type(error).__name__}: {error}"


def this_process() -> dict[str, Any]:
    """Fields that identify this process among those of all machines."""
    return {"host": socket.gethostname(), "machine": _machine(), "pid": os.getpid(), "begun": _begun(os.getpid())}


def process_is_gone(holder: dict[str, Any]) -> bool:
    """Whether a process of this machine has ended; False if it cannot be checked from here."""
    machine, pid = holder.get("machine"), holder.get("pid")
    if not machine or machine != _machine() or not isinstance(pid, int):
        return False
    return _begun(pid) != holder.get("begun")


def _machine() -> str:
    """ID of this machine's boot and of this container; empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _begun(pid: int) -> str:
    """Start time of a process in clock ticks since boot; empty if there is no such process or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]


def _names(folder: Location) -> set[str]:
    return {entry.relative for entry in (folder / ATTEMPTS).list(recursive=False) if entry.relative.endswith(".json")}


def _state(folder: Location, number: int, names: set[str]) -> AttemptState | None:
    if f"{number}.json" not in names:
        return None
    record = (folder / ATTEMPTS / f"{number}.json").read_json()
    owner, holder = record.get("owner", ""), record.get("holder") or {}
    if f"{number}.adopted.json" in names:  # two processes hold it: the end of one proves nothing
        holder = {**holder, "machine": ""}
    if f"{number}.end.json" in names:
        end = _file(folder, number, "end").read_json()
        return AttemptState(number, owner, holder, True, end.get("code"), end.get("sentence", ""), 0.0)
    return AttemptState(number, owner, holder, False, None, "", _age(folder, number))


def _age(folder: Location, number: int) -> float:
    """Seconds since an attempt was last heard of; never negative."""
    claim = folder / ATTEMPTS / f"{number}.json"
    looking = time.monotonic()
    signs = (claim, _file(folder, number, "adopted"), _file(folder, number, "heartbeat"))
    found = [stat for sign in signs if (stat := sign.stat()) is not None]
    newest = max((stat.modified for stat in found), default=0.0)
    unchanged = _unchanged(folder, number, tuple(stat.version for stat in found), looking)
    return max(claim.clock() - newest, unchanged, 0.0)


def _unchanged(folder: Location, number: int, versions: tuple[str, ...], looking: float) -> float:
    """Seconds for which this process has seen the same signs; `looking`: when it began to look (monotonic)."""
    place = (folder.uri, number)
    known = _seen.get(place)
    if known is not None and known[0] == versions:
        return looking - known[1]
    _seen[place] = (versions, time.monotonic())
    return 0.0


def _file(folder: Location, number: int, kind: str) -> Location:
    return folder / ATTEMPTS / f"{number}.{kind}.json"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
