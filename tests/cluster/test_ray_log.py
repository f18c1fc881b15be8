"""A driver's log is read as it grows, in pieces, with memory that does not grow with it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_api import TOKEN, JobApi, RayJob, job_api
from rendering import REPOSITORY

from groot_ray.cluster.ray import log as ray_log
from groot_ray.cluster.ray.jobs import RayJobs
from groot_ray.cluster.ray.log import FollowedLog
from groot_ray.cluster.ray.log_text import text_after
from groot_ray.errors import ServiceUnavailableError

TEXT = st.text(alphabet=st.sampled_from('ab"\\\n\x00\x1bué€😀\ufeff'), max_size=40)


@given(text=TEXT, start=st.integers(0, 45), size=st.integers(1, 30), ascii_only=st.booleans())
def test_a_streamed_log_is_the_log(text: str, start: int, size: int, ascii_only: bool) -> None:
    data = json.dumps({"logs": text}, ensure_ascii=ascii_only).encode()
    chunks = [data[i : i + size] for i in range(0, len(data), size)]
    assert "".join(text_after(chunks, start)) == text[start:]


@pytest.mark.parametrize("data", [b"", b"{}", b"<html>" + b"x" * 100, b'{"logs": "cut', b'{"logs": "cut\\u00'])
def test_other_answers_are_not_logs(data: bytes) -> None:
    with pytest.raises(ValueError, match="the log is incomplete"):
        list(text_after([data], 0))


def test_half_a_character_can_be_printed() -> None:
    assert "".join(text_after([b'{"logs": "a\\ud83d"}'], 0)) == "a?"


def test_each_read_gives_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_log, "LAST_PAUSE", 0.0)
    said: list[str] = []
    with job_api(JobApi(jobs={"one": RayJob({}, log="begun\n")})) as api:
        jobs, followed = RayJobs(api.url, TOKEN), FollowedLog("one", said.append)
        followed.read(jobs, last=True)
        api.jobs["one"].log += "half a li"
        followed.read(jobs, last=True)
        api.broken_log = True
        followed.read(jobs, last=True)
        api.broken_log = False
        api.jobs["one"].log += "ne 😀\n"
        followed.read(jobs, last=True)
        followed.read(jobs, last=True)
        assert "".join(said) == "begun\nhalf a line 😀\n"
        api.jobs["one"].log = 5  # type: ignore[assignment]
        with pytest.raises(ServiceUnavailableError, match="not a Ray dashboard"):
            list(jobs.log("one"))


class SlowLog:
    """Ray's job API with its own clock: a transfer takes `seconds`; the first `failures` ones fail at their end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float = 0.0, failures: int = 0) -> None:
        self.now, self.seconds, self.failures, self.asked = 1000.0, seconds, failures, 0
        monkeypatch.setattr(ray_log.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(ray_log.time, "sleep", self.pass_by)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds

    def log(self, submission: str, start: int) -> Iterator[str]:
        self.asked += 1
        self.pass_by(self.seconds)
        if self.asked <= self.failures:
            raise ServiceUnavailableError("away")
        yield f"line {self.asked}\n"


@pytest.mark.parametrize(("seconds", "pause"), [(0.1, 1.9), (1.0, 19), (60.0, 30)])
def test_a_long_log_is_read_less_often_but_often_enough(
    seconds: float, pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = SlowLog(monkeypatch, seconds)
    followed = FollowedLog("one", lambda text: jobs.pass_by(100))  # a terminal that stands still
    followed.read(jobs)
    jobs.pass_by(pause - 0.05)
    followed.read(jobs)
    assert jobs.asked == 1
    jobs.pass_by(0.1)
    followed.read(jobs)
    assert jobs.asked == 2


def test_a_failure_does_not_delay_the_next_read(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, said = SlowLog(monkeypatch, seconds=60, failures=1), []
    followed = FollowedLog("one", said.append)
    followed.read(jobs)
    followed.read(jobs)
    assert said == ["line 2\n"]


@pytest.mark.parametrize(("failures", "said"), [(0, ["line 1\n"]), (3, ["line 4\n"]), (9, [])])
def test_the_last_lines_are_asked_for_again(failures: int, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, heard = SlowLog(monkeypatch, failures=failures), []
    FollowedLog("one", heard.append).read(jobs, last=True)
    assert heard == said and jobs.asked == min(failures + 1, ray_log.LAST_TRIES)


FOLLOW = """
import re, sys
from pathlib import Path
from groot_ray.cluster.ray.jobs import RayJobs
from groot_ray.cluster.ray.log import FollowedLog
seen = 0
def say(text):
    global seen
    assert len(text) < 2**18
    seen += len(text)
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
jobs, log = RayJobs(sys.argv[1], sys.argv[2]), FollowedLog("long", say)
jobs.state("long")
before = peak()
log.read(jobs, last=True)
log.read(jobs, last=True)
print(seen, before, peak())
"""


def test_a_long_log_takes_no_memory() -> None:
    line = "12:00:00 step 1000 loss 0.123 \u2713\n"
    text = line * (50_000_000 // len(line))
    with job_api(JobApi(jobs={"long": RayJob({}, log=text)})) as api:
        done = subprocess.run(
            [sys.executable, "-c", FOLLOW, api.url, TOKEN], cwd=REPOSITORY, capture_output=True, text=True
        )
    assert done.returncode == 0, done.stderr
    seen, before, peak = (int(number) for number in re.findall(r"\d+", done.stdout))
    assert seen == len(text), "all of it, once"
    assert peak - before < 8, f"{peak - before} MiB for a log of {len(text) / 2**20:.0f} MiB"
    assert peak < 80
