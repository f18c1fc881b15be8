"""A real S3 server of one trial, which can be paused, and killed and started again on its data."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ACCESS_KEY, SECRET_KEY = "groot-ray-soak", "not-a-secret-only-a-test"
BUCKET = "soak"
START_SECONDS = 90


class Server:
    """MinIO if its binary is given, otherwise moto's server, which keeps its data in memory and so cannot be killed."""

    def __init__(self, folder: Path, minio: Path | None) -> None:
        self.folder = folder
        self.minio = minio
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def data(self) -> Path | None:
        """The folder in which an object is a folder of its name; None if the objects are in memory."""
        return self.folder / "data" if self.minio else None

    @property
    def pid(self) -> int:
        """The server's process; 0 while it is down."""
        return self._process.pid if self._process is not None else 0

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a client reaches it."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        address = f"127.0.0.1:{self.port}"
        if self.minio:
            command = [str(self.minio), "server", str(self.data), "--address", address, "--quiet"]
        else:
            command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "MINIO_ROOT_USER": ACCESS_KEY,
            "MINIO_ROOT_PASSWORD": SECRET_KEY,
            "MINIO_BROWSER": "off",
            "HOME": str(self.folder),
        }
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        self._wait()

    def _wait(self) -> None:
        url = f"{self.endpoint}/{'minio/health/live' if self.minio else 'moto-api/'}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                opener.open(url, timeout=2).close()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise RuntimeError(f"the S3 server does not answer; see {self.folder / 'server.log'}")

    def create_bucket(self) -> None:
        self.client().create_bucket(Bucket=BUCKET)

    def client(self) -> Any:
        """A plain boto3 client."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )

    def pause(self) -> None:
        """Stop answering, without closing a connection."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
