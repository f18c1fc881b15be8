"""Status and logs reach storage while work continues, survive an outage of the storage, and record the end."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from groot_ray.errors import ServiceUnavailableError
from groot_ray.progress import progress
from groot_ray.storage import Location, open_location
from groot_ray.storage.logs import LogShipper, log_folder, log_names, read_log
from groot_ray.storage.status import StatusWriter, read_status


@pytest.fixture(params=["local", "s3"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    return (
        open_location(tmp_path / "stage")
        if request.param == "local"
        else request.getfixturevalue("s3").location / "stage"
    )


def text(stage: Location, attempt: str, name: str) -> str:
    return b"".join(read_log(stage, attempt, name)).decode()


def test_status_follows_the_work(stage: Location) -> None:
    assert read_status(stage) is None
    with StatusWriter(stage, {"stage": "finetune", "attempt": 2}, interval=0.05) as status:
        assert read_status(stage)["state"] == "running"
        with progress("finetune", 10, "steps", listeners=[status]) as work:
            work.advance(4, loss=0.25, other=float("nan"))
            deadline = time.monotonic() + 5
            while read_status(stage).get("done") != 4 and time.monotonic() < deadline:
                time.sleep(0.05)
            seen = read_status(stage)
            assert (seen["stage"], seen["attempt"], seen["done"], seen["total"], seen["unit"]) == (
                "finetune",
                2,
                4,
                10,
                "steps",
            )
            assert seen["fields"] == {"loss": 0.25, "other": "nan"} and seen["rate"] > 0 and seen["remaining"] >= 0
            work.advance(6)
        status.finish("done", "checkpoint-10 is made")
    last = read_status(stage)
    assert (last["state"], last["done"], last["sentence"]) == ("done", 10, "checkpoint-10 is made")


def test_logs_are_sent_during_the_work_and_at_its_end(stage: Location) -> None:
    log = logging.getLogger("groot_ray.convert")
    log.setLevel(logging.INFO)
    with LogShipper(log_folder(stage, 1), interval=0.05):
        log.info("episode %d is done", 7)
        deadline = time.monotonic() + 5
        while not log_names(stage) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "episode 7 is done" in text(stage, "attempt-1", "driver")
        log.warning("the last line ü")
    log.info("after the end")
    assert [line.split(" ", 3)[2:] for line in text(stage, "attempt-1", "driver").splitlines()] == [
        ["INFO", "groot_ray.convert episode 7 is done"],
        ["WARNING", "groot_ray.convert the last line ü"],
    ]


def test_long_logs_are_pieces_that_are_left_alone(stage: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groot_ray.storage.logs.PIECE", 1000)
    log = logging.getLogger("groot_ray.train")
    for attempt in (1, 2, 10):
        with LogShipper(log_folder(stage, attempt), interval=60) as shipper:
            for number in range(100):
                log.warning("line %d of attempt %d", number, attempt)
                if number % 7 == 0:
                    shipper.send()
    assert log_names(stage) == [("attempt-1", "driver"), ("attempt-2", "driver"), ("attempt-10", "driver")]
    pieces = list(read_log(stage, "attempt-10", "driver"))
    assert len(pieces) > 3 and all(len(piece) < 2000 for piece in pieces)
    assert b"".join(pieces).count(b"\n") == 100 and b"line 99 of attempt 10" in pieces[-1]
    with LogShipper(log_folder(stage, 10), interval=60):
        log.warning("a second process of the same attempt")
    assert text(stage, "attempt-10", "driver").count("\n") == 101


def test_files_of_workers_are_followed(stage: Location, tmp_path: Path) -> None:
    (tmp_path / "ray").mkdir()
    with LogShipper(log_folder(stage, 1), interval=60) as shipper:
        shipper.follow(tmp_path / "ray", "worker-*.out", "node-1-")
        shipper.send()
        with (tmp_path / "ray/worker-ab.out").open("wb") as stream:
            stream.write(b"one\n")
            stream.flush()
            shipper.send()
            stream.write(b"two\n")
    assert text(stage, "attempt-1", "node-1-worker-ab") == "one\ntwo\n"


def test_lines_that_cannot_be_sent_are_sent_later(stage: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    log = logging.getLogger("groot_ray.x")

    def away(*_: object) -> None:
        raise ServiceUnavailableError("the storage is away")

    with LogShipper(log_folder(stage, 1), interval=60) as shipper:
        with monkeypatch.context() as patch:
            patch.setattr(Location, "write_bytes", away)
            log.warning("first")
            shipper.send()
        log.warning("second")
    assert [line.split()[-1] for line in text(stage, "attempt-1", "driver").splitlines()] == ["first", "second"]
