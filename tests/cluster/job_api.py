"""Ray's job API over HTTP without Ray: a submission runs as a process, or does what a test says.

It can lose answers, not answer at all, and forget its jobs, as a replaced head does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from http_server import QuietHandler, serving
from ray._private.utils import update_envs

TOKEN = "a-token"


@dataclass
class RayJob:
    """A submission as the server knows it."""

    body: dict[str, Any]
    status: str = "RUNNING"
    message: str = ""
    exit_code: int | None = None
    log: str = ""
    process: subprocess.Popen[bytes] | None = None
    output: Path | None = None

    def end(self, status: str, exit_code: int, message: str = "") -> None:
        """End it."""
        self.status, self.exit_code, self.message = status, exit_code, message

    def see(self) -> dict[str, Any]:
        """Its state now, as the API gives it."""
        if self.process is not None and self.status == "RUNNING" and self.process.poll() is not None:
            code = self.process.returncode
            said = f"Job entrypoint command failed with exit code {code}, last available logs:\n{self.read()[-2000:]}"
            self.end("SUCCEEDED" if code == 0 else "FAILED", code, "" if code == 0 else said)
        return {"status": self.status, "message": self.message, "driver_exit_code": self.exit_code}

    def read(self) -> str:
        """Its complete log."""
        return self.log if self.output is None else self.output.read_text(errors="replace")


@dataclass
class JobApi:
    """What the server knows and does.

    Attributes:
        folder: entry points run as processes, with their output there.
        away: it does not answer.
        lose: number of submissions that are taken while their answers are lost.
        broken_log: logs cannot be read.
    """

    url: str = ""
    version: str = ""
    folder: Path | None = None
    jobs: dict[str, RayJob] = field(default_factory=dict)
    packages: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    away: bool = False
    lose: int = 0
    broken_log: bool = False

    def start(self, body: dict[str, Any]) -> None:
        """Take a submission, and run it if there is a folder."""
        name = body["submission_id"]
        job = self.jobs[name] = RayJob(body)
        if self.folder is not None:
            job.output = self.folder / f"{name}.log"
            with job.output.open("wb") as output:
                job.process = subprocess.Popen(
                    body["entrypoint"].split(), env=seen_by_process(body), stdout=output, stderr=subprocess.STDOUT
                )


def seen_by_process(body: dict[str, Any]) -> dict[str, str]:
    """The environment that Ray would give to a submission's process."""
    before = dict(os.environ)
    try:
        os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        update_envs(body["runtime_env"]["env_vars"])
        return dict(os.environ)
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def job_api(api: JobApi) -> Iterator[JobApi]:
    """Serve the API while the block runs, then end processes that still run."""

    class Handler(QuietHandler):
        def handle_request(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            data = self.rfile.read(length)
            api.asked.append(f"{self.command} {self.path}")
            if api.away:
                self.close_connection = True
            elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.answer(401, b"unauthorized")
            elif self.path == "/api/version":
                self.answer(200, {"ray_version": api.version})
            elif self.path.startswith("/api/packages/gcs/"):
                self.package(self.path.rpartition("/")[2], data)
            elif self.path == "/api/jobs/" and self.command == "POST":
                self.submit(json.loads(data))
            else:
                self.job(*self.path.removeprefix("/api/jobs/").partition("/")[::2])

        do_GET = do_POST = do_PUT = handle_request

        def package(self, name: str, data: bytes) -> None:
            if self.command == "PUT":
                api.packages[name] = data
            self.answer(200 if name in api.packages else 404, {})

        def submit(self, body: dict[str, Any]) -> None:
            if body["submission_id"] in api.jobs:
                return self.answer(500, f"Job with submission_id {body['submission_id']} already exists.".encode())
            api.start(body)
            if api.lose > 0:
                api.lose -= 1
                self.close_connection = True
                return None
            return self.answer(200, {"submission_id": body["submission_id"]})

        def job(self, name: str, action: str) -> None:
            job = api.jobs.get(name)
            if job is None:
                self.answer(404, f"Job {name} does not exist".encode())
            elif action == "stop":
                if job.process is not None:
                    job.process.terminate()
                    job.process.wait()
                job.end("STOPPED", -15)
                self.answer(200, {"stopped": True})
            elif action == "logs":
                self.answer(500, b"UnicodeDecodeError") if api.broken_log else self.answer(200, {"logs": job.read()})
            else:
                self.answer(200, job.see())

        def answer(self, status: int, body: Any) -> None:
            self.send(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode())

    with serving(Handler) as api.url:
        try:
            yield api
        finally:
            for job in api.jobs.values():
                if job.process is not None and job.process.poll() is None:
                    job.process.terminate()
                    job.process.wait()
