"""Attempts at a stage, and the lease that keeps two of them from writing at once.

Attempt N is claimed by creating `attempts/N.json`, which only one claimant can, and kept by a heartbeat, `attempts/N.heartbeat.json`.
It is over when `attempts/N.end.json` says how it ended, or when nothing has been heard of it for `silence()` seconds; only then may
N+1 be claimed. A holder that was thought dead (a machine that slept, a network that was cut) finds N+1 before its next commit and
gives way. All ages are told by the storage's own clock.
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
from typing import Any

from groot_ray.errors import GrootRayError, StoppedError, TemporaryFailureError
from groot_ray.progress import format_duration
from groot_ray.storage.location import Location

log = logging.getLogger(__name__)

ATTEMPTS = "attempts"


def silence() -> float:
    """Seconds without a sign after which an attempt counts as dead (GROOT_RAY_LEASE_SILENCE, 90)."""
    return float(os.environ.get("GROOT_RAY_LEASE_SILENCE", "90"))


@dataclass(frozen=True)
class AttemptState:
    """What storage tells of an attempt: who claimed it, how it ended (`code` and `sentence`), or how long ago the last sign came."""

    number: int
    owner: str
    holder: dict[str, Any]
    ended: bool
    code: int | None
    sentence: str
    age: float

    @property
    def alive(self) -> bool:
        """Whether it has to be taken for running: it has not ended, was heard of lately, and its process is not known to be gone."""
        return not self.ended and self.age < silence() and not process_is_gone(self.holder)

    @property
    def who(self) -> str:
        """Its process, for sentences."""
        return f"attempt {self.number} (process {self.holder.get('pid')} on {self.holder.get('host')})"


@dataclass(frozen=True)
class Ticket:
    """Names an attempt, and can look whether it still holds: what goes to Ray workers, without the heartbeat.

    `check` of a `stoppable` one also raises when a person has asked for the end: for work that can be left at any commit. Training
    saves first, so it asks `stop_requested` itself.
    """

    folder: Location
    number: int
    owner: str
    stoppable: bool = False

    def check(self) -> None:
        """To be called before each commit.

        Raises:
            TemporaryFailureError: a later attempt has taken over.
            StoppedError: a person asked for the end, and the ticket is stoppable.
        """
        where = f"attempt {self.number} at {self.folder.uri}"
        if (self.folder / ATTEMPTS / f"{self.number + 1}.json").exists():
            raise TemporaryFailureError(f"{where} was taken over by a later one and gives way")
        if self.stoppable and self.stop_requested():
            raise StoppedError(f"{where} was asked to stop; the same command goes on from what it made")

    def stop_requested(self) -> bool:
        """Whether a person has asked this attempt to stop (`request_stop`)."""
        return _file(self.folder, self.number, "stop").exists()


class Attempt:
    """A claimed attempt with its heartbeat; a context manager that writes down how it ended. Pickles as its `Ticket`."""

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self._stopping = threading.Event()
        self._ended = False
        self._beats = 0
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat-{ticket.number}", daemon=True)
        self._thread.start()

    @property
    def number(self) -> int:
        """Which attempt at the stage this is, counted from 1."""
        return self.ticket.number

    @property
    def folder(self) -> Location:
        """The stage's folder."""
        return self.ticket.folder

    @property
    def stoppable(self) -> Ticket:
        """The ticket for work that can be left at any commit."""
        return replace(self.ticket, stoppable=True)

    def check(self) -> None:
        """See `Ticket.check`."""
        self.ticket.check()

    def stop_requested(self) -> bool:
        """See `Ticket.stop_requested`."""
        return self.ticket.stop_requested()

    def hand_over(self) -> None:
        """Stop the heartbeat without an end: the process that has adopted the attempt keeps it."""
        self._stopping.set()
        self._thread.join(timeout=5)
        self._ended = True

    def end(self, code: int, sentence: str) -> None:
        """Stop the heartbeat and write down the exit code and what happened; the first end counts."""
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
        except GrootRayError as trouble:  # the storage is away: the attempt falls silent instead
            log.warning("the end of attempt %d could not be written down: %s", self.number, trouble)

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
                log.warning("the heartbeat of attempt %d did not get through: %s", self.number, error)


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

    Where another attempt is at work, waits for its end (`wait`), looking every `poll` seconds; gives None as soon as `until()` holds
    (the stage is done: asked before each claim). `about`, and what `name(number)` returns, are kept in the attempt's record (a
    submission id, say).

    Raises:
        TemporaryFailureError: another attempt is at work and `wait` is False.
    """
    owner = uuid.uuid4().hex
    told = 0
    while True:
        if until is not None and until():
            return None
        last = last_attempt(folder)
        if last is not None and last.alive:
            if not wait:
                raise TemporaryFailureError(f"{last.who} is at work on {folder.uri}; wait for it, or stop it")
            if told != last.number:
                log.info(
                    "%s is at work on %s (last sign %s ago): waiting for it; it is taken over after %s without a sign",
                    last.who, folder.uri, format_duration(last.age), format_duration(silence()),
                )  # fmt: skip
                told = last.number
            time.sleep(min(poll, max(silence() - last.age, 0.05)))
            continue
        number = 1 if last is None else last.number + 1
        holder = {**this_process(), **(about or {}), **(name(number) if name is not None else {})}
        record = {"number": number, "owner": owner, "holder": holder, "at": _now()}
        if (folder / ATTEMPTS / f"{number}.json").create_json(record):
            if last is not None and not last.ended:
                log.warning("%s at %s is dead; attempt %d goes on from what it left", last.who, folder.uri, number)
            return Attempt(Ticket(folder, number, owner))


def adopt_attempt(folder: Location, number: int, owner: str) -> Attempt:
    """Take over the heartbeat of an attempt that another process claimed for this one (a Job for the driver that it submits).

    Raises:
        TemporaryFailureError: the attempt is another owner's, has ended, or a later one exists.
    """
    state = _state(folder, number, _names(folder))
    if state is None or state.owner != owner or state.ended:
        raise TemporaryFailureError(f"attempt {number} at {folder.uri} is not to be gone on with; claim a new one")
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
    """Ask the running attempt to stop at its next commit; False where none is running."""
    last = last_attempt(folder)
    if last is None or not last.alive:
        return False
    _file(folder, last.number, "stop").create_json({"number": last.number, "at": _now(), "by": this_process()})
    return True


def end_attempt(folder: Location, state: AttemptState, code: int, sentence: str) -> None:
    """Write down the end of an attempt whose process is known to be gone; the first end counts."""
    _file(folder, state.number, "end").create_json(
        {"number": state.number, "owner": state.owner, "code": code, "sentence": sentence, "at": _now()}
    )


def outcome_of(error: BaseException | None) -> tuple[int, str]:
    """Exit code and sentence for how a block of work ended."""
    if error is None:
        return 0, "done"
    if isinstance(error, GrootRayError):
        return error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt):
        return StoppedError.exit_code, "stopped by a person"
    return 1, f"{type(error).__name__}: {error}"


def this_process() -> dict[str, Any]:
    """What tells this process apart from all others, here and elsewhere."""
    return {"host": socket.gethostname(), "machine": _machine(), "pid": os.getpid(), "begun": _begun(os.getpid())}


def process_is_gone(holder: dict[str, Any]) -> bool:
    """Whether a process of this machine, since its last start, has ended; False where that cannot be known from here."""
    machine, pid = holder.get("machine"), holder.get("pid")
    if not machine or machine != _machine() or not isinstance(pid, int):
        return False
    return _begun(pid) != holder.get("begun")


def _machine() -> str:
    """This start of this machine, and the container in it; empty where it cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _begun(pid: int) -> str:
    """Clock ticks from the machine's start to the process's; empty where there is none (or it is only waiting to be reaped)."""
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
    if f"{number}.adopted.json" in names:  # two processes keep it, so the end of one says nothing
        holder = {**holder, "machine": ""}
    if f"{number}.end.json" in names:
        end = _file(folder, number, "end").read_json()
        return AttemptState(number, owner, holder, True, end.get("code"), end.get("sentence", ""), 0.0)
    return AttemptState(number, owner, holder, False, None, "", _age(folder, number))


def _age(folder: Location, number: int) -> float:
    """Seconds since the last sign of an attempt."""
    claim = folder / ATTEMPTS / f"{number}.json"
    signs = (claim, _file(folder, number, "adopted"), _file(folder, number, "heartbeat"))
    newest = max((found.modified for sign in signs if (found := sign.stat()) is not None), default=0.0)
    return max(claim.clock() - newest, 0.0)


def _file(folder: Location, number: int, kind: str) -> Location:
    return folder / ATTEMPTS / f"{number}.{kind}.json"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
