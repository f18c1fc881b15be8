"""Two attempts never hold at once: real processes that claim, die and come back, on a disk and in S3."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from faulty_proxy import faulty_proxies

from groot_ray.errors import ConfigurationError, DataError, StoppedError, TemporaryFailureError
from groot_ray.storage import Location, open_location
from groot_ray.storage.lease import (
    Attempt,
    Ticket,
    adopt_attempt,
    attempts,
    claim_attempt,
    last_attempt,
    process_is_gone,
    request_stop,
    this_process,
)

HOLDER = """
import sys, time
from groot_ray.storage import open_location
from groot_ray.storage import lease
if "elsewhere" in sys.argv:
    lease._machine = lambda: "another machine"
attempt = lease.claim_attempt(open_location(sys.argv[1]), wait=False)
print(attempt.number, flush=True)
time.sleep(60)
"""


@pytest.fixture(params=["local", "s3"])
def stage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Location:
    if request.param == "local":
        monkeypatch.setenv("GROOT_RAY_LEASE_SILENCE", "2")
        return open_location(tmp_path / "stage")
    monkeypatch.setenv("GROOT_RAY_LEASE_SILENCE", "4")  # S3 tells times in whole seconds
    return request.getfixturevalue("s3").location / "stage"


def claim(stage: Location, **options) -> Attempt:
    attempt = claim_attempt(stage, **options)
    assert attempt is not None
    return attempt


def start_holder(stage: Location, *words: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, stage.uri, *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline().strip().isdigit()
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    process.stdout.close()


def test_attempts_follow_one_another(stage: Location) -> None:
    assert last_attempt(stage) is None
    with claim(stage, about={"release": "demo"}, name=lambda number: {"submission": f"demo-convert-{number}"}) as first:
        assert first.number == 1
        first.check()
        state = last_attempt(stage)
        assert state is not None and state.alive and state.holder["submission"] == "demo-convert-1"
        with pytest.raises(TemporaryFailureError, match="attempt 1 .* is running"):
            claim_attempt(stage, wait=False)
    with pytest.raises(DataError), claim(stage, wait=False):
        raise DataError("episode 3 is broken")
    with pytest.raises(KeyboardInterrupt), claim(stage, wait=False):
        raise KeyboardInterrupt
    with pytest.raises(ZeroDivisionError), claim(stage, wait=False):
        _ = 1 / 0
    ends = [(state.number, state.code, state.sentence) for state in attempts(stage)]
    assert ends == [
        (1, 0, "done"),
        (2, 65, "episode 3 is broken"),
        (3, 70, "stopped by a person"),
        (4, 1, "ZeroDivisionError: division by zero"),
    ]
    assert not any(state.alive for state in attempts(stage))


def test_a_heartbeat_keeps_an_attempt_beyond_the_silence(stage: Location) -> None:
    process = start_holder(stage, "elsewhere")
    try:
        for _ in range(10):
            time.sleep(0.5)
            state = last_attempt(stage)
            assert state is not None and state.number == 1 and state.alive
    finally:
        end(process)


def test_a_killed_holder_is_succeeded_after_its_silence(stage: Location) -> None:
    """The holder claims to be on another machine, so only missing heartbeats show that it is dead."""
    process = start_holder(stage, "elsewhere")
    process.send_signal(signal.SIGKILL)
    end(process)
    begun = time.monotonic()
    with pytest.raises(TemporaryFailureError):
        claim_attempt(stage, wait=False)
    attempt = claim(stage, poll=0.2)
    assert attempt.number == 2 and 0.8 < time.monotonic() - begun < 15
    attempt.end(0, "done")


def test_a_heartbeat_from_the_future_delays_a_takeover_by_one_silence_only(tmp_path: Path, monkeypatch) -> None:
    """The clock was set back by hours after the last heartbeat."""
    monkeypatch.setenv("GROOT_RAY_LEASE_SILENCE", "1")
    stage = open_location(tmp_path / "stage")
    end(start_holder(stage, "elsewhere"))
    future = time.time() + 5 * 3600
    for path in (tmp_path / "stage/attempts").iterdir():
        os.utime(path, (future, future))
    begun = time.monotonic()
    with pytest.raises(TemporaryFailureError):
        claim_attempt(stage, wait=False)
    attempt = claim(stage, poll=0.1)
    assert attempt.number == 2 and 0.9 < time.monotonic() - begun < 10
    attempt.end(0, "done")


def test_a_heartbeat_from_the_future_in_s3(s3, monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder lives as long as its heartbeat changes, however wrong its times are."""
    monkeypatch.setenv("GROOT_RAY_LEASE_SILENCE", "2")
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    with faulty_proxies(s3.server.endpoint) as (proxy,):
        proxy.shift = 5 * 3600.0
        stage = open_location(f"{s3.uri}/stage", proxy.url)
        holder = claim(stage, about={"machine": "another machine"})
        for _ in range(8):
            time.sleep(0.4)
            state = last_attempt(stage)
            assert state is not None and state.alive and state.age >= 0
        holder.hand_over()  # its heartbeat stops, and no end is recorded
        begun = time.monotonic()
        attempt = claim(stage, poll=0.1)
        assert attempt.number == 2 and 1.0 < time.monotonic() - begun < 10
        attempt.end(0, "done")


def test_a_holder_killed_on_this_machine_is_succeeded_at_once(stage: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROOT_RAY_LEASE_SILENCE", "90")
    process = start_holder(stage)
    with pytest.raises(TemporaryFailureError):
        claim_attempt(stage, wait=False)
    process.kill()
    process.wait()
    process.stdout.close()
    attempt = claim(stage, wait=False)
    assert attempt.number == 2
    attempt.end(0, "done")


def test_a_holder_that_slept_finds_its_successor_and_stops(stage: Location) -> None:
    """SIGSTOP for longer than the allowed silence, like a suspended laptop; then the old holder tries to commit."""
    script = HOLDER.replace(
        "time.sleep(60)",
        "sys.stdin.readline()\ntry:\n    attempt.check()\n"
        "except Exception as error:\n    print(type(error).__name__, flush=True)",
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, stage.uri, "elsewhere"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "1\n"
        process.send_signal(signal.SIGSTOP)
        successor = claim(stage, poll=0.2)
        assert successor.number == 2
        process.send_signal(signal.SIGCONT)
        answer, _ = process.communicate("\n", timeout=20)
        assert answer.strip() == "TemporaryFailureError"
        successor.check()
        successor.end(0, "done")
    finally:
        process.kill()
        process.wait()


def test_of_many_claimants_one_holds(stage: Location) -> None:
    claimed: list[Attempt] = []
    refused: list[str] = []
    gate = threading.Barrier(6)

    def run() -> None:
        gate.wait()
        try:
            claimed.append(claim(stage, wait=False))
        except TemporaryFailureError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == 1 and len(refused) == 5
    claimed[0].end(0, "done")


def test_two_processes_claim_a_dead_attempt(stage: Location) -> None:
    """Both notice the dead attempt at the same time; one takes over, the other waits for it."""
    end(start_holder(stage, "elsewhere"))
    script = (
        "import sys, time\nfrom groot_ray.storage import open_location\n"
        "from groot_ray.storage.lease import claim_attempt\n"
        "with claim_attempt(open_location(sys.argv[1]), poll=0.1) as attempt:\n"
        "    begun = time.time()\n    time.sleep(0.5)\n    attempt.check()\n"
        "    print(attempt.number, begun, time.time())\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, stage.uri], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    answers = sorted(process.communicate(timeout=40)[0].split() for process in processes)
    assert [answer[0] for answer in answers] == ["2", "3"]
    assert float(answers[0][2]) <= float(answers[1][1]), "the second began when the first had ended"


def test_waiting_ends_when_the_work_is_done(stage: Location) -> None:
    first = claim(stage)
    done = threading.Event()
    threading.Timer(0.5, lambda: (done.set(), first.end(0, "done"))).start()
    assert claim_attempt(stage, until=done.is_set, poll=0.1) is None


def test_a_ticket_goes_to_workers_and_checks_without_a_heartbeat(stage: Location) -> None:
    attempt = claim(stage)
    ticket = pickle.loads(pickle.dumps(attempt))
    assert isinstance(ticket, Ticket) and ticket.number == 1
    ticket.check()
    attempt.stoppable.check()
    assert not ticket.stop_requested() and request_stop(stage)
    assert ticket.stop_requested() and attempt.stop_requested()
    ticket.check()  # a stop request does not prevent a commit: training saves first
    with pytest.raises(StoppedError, match="was stopped; run the same command"):
        pickle.loads(pickle.dumps(attempt.stoppable)).check()
    attempt.end(70, "stopped by a person")
    assert not request_stop(stage)


def test_an_attempt_is_adopted_by_the_process_that_it_was_claimed_for(stage: Location) -> None:
    claimed = claim(stage)
    with pytest.raises(TemporaryFailureError, match="cannot be resumed; claim a new attempt"):
        adopt_attempt(stage, 1, "somebody else")
    adopted = adopt_attempt(stage, 1, claimed.ticket.owner)
    claimed.hand_over()
    time.sleep(4.5)
    state = last_attempt(stage)
    assert state is not None and state.alive and state.number == 1
    adopted.end(0, "done")
    claimed.end(1, "too late")
    assert last_attempt(stage).code == 0
    with pytest.raises(TemporaryFailureError):
        adopt_attempt(stage, 1, claimed.ticket.owner)


def test_processes_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    me = this_process()
    assert not process_is_gone(me)
    assert process_is_gone({**me, "begun": "1"}), "the process ID was reused"
    assert not process_is_gone({**me, "machine": "another", "begun": "1"}) and not process_is_gone({})


def test_a_missing_right_to_heartbeat_does_not_stop_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROOT_RAY_LEASE_SILENCE", "0.5")
    attempt = claim(open_location(tmp_path))
    monkeypatch.setattr("groot_ray.storage.location.Location.write_json", _refuse)
    time.sleep(0.4)
    assert attempt._thread.is_alive()
    attempt.end(0, "done")


def _refuse(*_: object) -> None:
    raise ConfigurationError("the disk is full")
