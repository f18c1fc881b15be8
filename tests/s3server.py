"""A real S3 server process for tests: MinIO if its binary is found, otherwise moto's server.

MinIO is searched as MINIO_BINARY, as `minio` on PATH, and packed in `../shared/cluster/bin`. The fixture `s3` gives a
test its own bucket, with the environment that a user would set. `minio_only` skips tests that moto cannot run (it
accepts any secret). TEST_S3_SERVER=moto selects moto even if MinIO is found.
"""

from __future__ import annotations

import lzma
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from groot_ray.storage import Location, open_location

REPOSITORY = Path(__file__).resolve().parent.parent
ACCESS_KEY = "groot-ray-tests"
SECRET_KEY = "not-a-secret-only-a-test"


@dataclass(frozen=True)
class S3Server:
    """A running server: `kind` is "minio" or "moto"; `environment` is what a client of it has to have."""

    kind: str
    endpoint: str
    pid: int

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@dataclass(frozen=True)
class S3Bucket:
    """A fresh bucket on the server."""

    server: S3Server
    name: str

    @property
    def uri(self) -> str:
        return f"s3://{self.name}"

    @property
    def location(self) -> Location:
        return open_location(self.uri)

    @property
    def client(self) -> Any:
        """A plain boto3 client, for looking at the bucket without the code under test."""
        return plain_client(self.server)


def plain_client(server: S3Server) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server for the whole test run, with its data in a temporary folder."""
    folder = tmp_path_factory.mktemp("s3")
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    minio = find_minio()
    if minio is not None:
        command = [str(minio), "server", str(folder / "data"), "--address", f"127.0.0.1:{port}", "--quiet"]
        health, kind = f"{endpoint}/minio/health/live", "minio"
    else:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        health, kind = f"{endpoint}/moto-api/", "moto"
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("AWS_")},
        "MINIO_ROOT_USER": ACCESS_KEY,
        "MINIO_ROOT_PASSWORD": SECRET_KEY,
        "MINIO_BROWSER": "off",
        "HOME": str(folder),
    }
    with (folder / "server.log").open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            wait_until_healthy(health, process, folder / "server.log")
            yield S3Server(kind, endpoint, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Bucket]:
    """A fresh bucket, and the environment by which groot_ray (and every process that a test starts) reaches it."""
    for name in [key for key in os.environ if key.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    bucket = S3Bucket(s3_server, f"test-{uuid.uuid4().hex[:12]}")
    bucket.client.create_bucket(Bucket=bucket.name)
    yield bucket


@pytest.fixture
def minio_only(s3_server: S3Server) -> None:
    """For what moto cannot tell: skips the test, visibly, where there is no MinIO."""
    if s3_server.kind != "minio":
        pytest.skip("moto's server cannot tell this; put a MinIO binary on PATH or name it in MINIO_BINARY")


def find_minio() -> Path | None:
    """The MinIO binary: named, on PATH, or packed beside the checkout (unpacked once into the checkout's cache)."""
    if os.environ.get("TEST_S3_SERVER") == "moto":
        return None
    named = os.environ.get("MINIO_BINARY")
    if named:
        return Path(named)
    on_path = shutil.which("minio")
    if on_path:
        return Path(on_path)
    packed = REPOSITORY.parent / "shared" / "cluster" / "bin" / "minio.xz"
    if not packed.is_file():
        return None
    unpacked = REPOSITORY / ".cache" / "minio"
    if not unpacked.is_file():
        unpacked.parent.mkdir(exist_ok=True)
        partial = unpacked.with_name(f"minio.{os.getpid()}")
        with lzma.open(packed) as source, partial.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        partial.chmod(0o755)
        partial.replace(unpacked)
    return unpacked


def wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the S3 server ended with {process.returncode}:\n{log.read_text()}")
        try:
            opener.open(url, timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the S3 server did not answer within a minute:\n{log.read_text()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
