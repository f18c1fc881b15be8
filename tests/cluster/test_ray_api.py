"""Answers of Ray's job API: mistakes, temporary failures, and services that are not Ray."""

from __future__ import annotations

from typing import Any

import pytest
from job_api import TOKEN, JobApi, job_api

from groot_ray.cluster.ray import connect
from groot_ray.cluster.ray.connect import submit_patiently
from groot_ray.cluster.ray.jobs import AlreadySubmittedError, RayJobs
from groot_ray.errors import ConfigurationError, GrootRayError, ServiceUnavailableError

TRACE = """Traceback (most recent call last):
  File "job_head.py", line 419, in submit_job
    resp = await job_agent_client.submit_job_internal(submit_request)
"""
OF_THE_AGENT = f"{TRACE}RuntimeError: Request failed with status code %d: {TRACE}%s\n.\n"


@pytest.mark.parametrize(
    ("status", "text", "kind", "said"),
    [
        (400, f"{TRACE}TypeError: runtime_env must be a dict", ConfigurationError, "runtime_env must be a dict"),
        (500, OF_THE_AGENT % (400, "ValueError: a wrong id"), ConfigurationError, "submission: ValueError: a wrong id"),
        (500, OF_THE_AGENT % (400, "ValueError: Job one already exists."), AlreadySubmittedError, "already"),
        (400, f"{TRACE}ValueError: Job one already exists.", AlreadySubmittedError, "already"),
        (500, OF_THE_AGENT % (500, "OSError: no space"), ServiceUnavailableError, "no space"),
        (500, "No available agent to submit job, please try again later.", ServiceUnavailableError, "try again later"),
        (429, "slowly", ServiceUnavailableError, "slowly"),
        (503, "no upstream", ServiceUnavailableError, "no upstream"),
    ],
)  # fmt: skip
def test_mistakes_are_not_retried(
    status: int, text: str, kind: type[GrootRayError], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "ASK", 0.0)
    jobs, asked = RayJobs("http://ray", None), []

    def answer(*words: Any) -> tuple[int, bytes]:
        asked.append(words)
        return status, text.encode()

    monkeypatch.setattr(jobs, "_send", answer)
    with pytest.raises(kind) as error:
        submit_patiently(jobs, "one", "true", {}, 0.05)
    assert type(error.value) is kind and said in str(error.value)
    if kind is ServiceUnavailableError:
        assert len(asked) > 1, "it is temporary"
    elif kind is ConfigurationError:
        assert len(asked) == 1


@pytest.mark.parametrize("answer", [b"[]", b"5", b"null", b'["x"]', b"<html>"])
@pytest.mark.parametrize("ask", ["ray_version", "state", "jobs"])
def test_another_service_is_not_ray(ask: str, answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = RayJobs("http://ray", None)
    monkeypatch.setattr(jobs, "_send", lambda *words: (200, answer))
    if ask == "jobs" and answer == b"[]":
        assert jobs.jobs() == []
        return
    with pytest.raises(ServiceUnavailableError, match="http://ray:8265 is not a Ray dashboard"):
        getattr(jobs, ask)(*(["one"] if ask == "state" else []))


def test_the_version_over_http() -> None:
    with job_api(JobApi(version="2.60.0")) as api:
        assert RayJobs(api.url, TOKEN).ray_version() == "2.60.0"
