"""A driver's log is read as it grows, in pieces, with memory that does not grow with it."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_api import TOKEN, JobApi, RayJob, job_api
from rendering import REPOSITORY

from groot_ray.cluster.ray_api import RayJobs
from groot_ray.cluster.ray_log import FollowedLog, text_after
from groot_ray.errors import ServiceUnavailableError

TEXT = st.text(alphabet=st.sampled_from('ab"\\\n\x00\x1bué€😀\ufeff'), max_size=40)


@given(text=TEXT, start=st.integers(0, 45), size=st.integers(1, 30), ascii_only=st.booleans())
def test_a_streamed_log_is_the_log(text: str, start: int, size: int, ascii_only: bool) -> None:
    data = json.dumps({"logs": text}, ensure_ascii=ascii_only).encode()
    chunks = [data[i : i + size] for i in range(0, len(data), size)]
    assert "".join(text_after(chunks, start)) == text[start:]


@pytest.mark.parametrize("data", [b"", b"{}", b"<html>" + b"x" * 100, b'{"logs": "cut', b'{"logs": "cut\\u00'])
def test_other_answers_are_no_log(data: bytes) -> None:
    with pytest.raises(ValueError, match="no whole log"):
        list(text_after([data], 0))


def test_half_a_character_can_be_printed() -> None:
    assert "".join(text_after([b'{"logs": "a\\ud83d"}'], 0)) == "a?"


def test_each_look_gives_what_is_new() -> None:
    said: list[str] = []
    with job_api(JobApi(jobs={"one": RayJob({}, log="begun\n")})) as api:
        jobs, followed = RayJobs(api.url, TOKEN), FollowedLog("one", said.append)
        followed.look(jobs, last=True)
        api.jobs["one"].log += "half a li"
        followed.look(jobs, last=True)
        api.broken_log = True
        followed.look(jobs, last=True)
        api.broken_log = False
        api.jobs["one"].log += "ne 😀\n"
        followed.look(jobs, last=True)
        followed.look(jobs, last=True)
        assert "".join(said) == "begun\nhalf a line 😀\n"
        api.jobs["one"].log = 5  # type: ignore[assignment]
        with pytest.raises(ServiceUnavailableError, match="no Ray dashboard"):
            list(jobs.log("one"))


FOLLOW = """
import re, sys
from pathlib import Path
from groot_ray.cluster.ray_api import RayJobs
from groot_ray.cluster.ray_log import FollowedLog
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
log.look(jobs, last=True)
log.look(jobs, last=True)
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
