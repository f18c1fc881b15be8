"""An unusable storage is reported in one sentence, quickly, before any work."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_s3 import Service, small_s3

from groot_ray.errors import ConfigurationError, GrootRayError, ServiceUnavailableError
from groot_ray.storage import Location, open_location
from groot_ray.storage.check import check_storage, probe_storage


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    for name in [key for key in os.environ if key.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with small_s3(Service()) as running:
        yield running


def bucket(service: Service) -> Location:
    return open_location("s3://bucket/experiments", endpoint=service.url)


def problem(location: Location) -> GrootRayError:
    """The error of a check, which must be one sentence and come quickly."""
    begun = time.monotonic()
    with pytest.raises(GrootRayError) as caught:
        check_storage(location)
    assert time.monotonic() - begun < 15
    assert "\n" not in str(caught.value) and "Traceback" not in str(caught.value)
    return caught.value


def test_a_good_storage_passes_and_is_left_empty(s3, tmp_path: Path) -> None:
    for location in (s3.location / "experiments", open_location(tmp_path / "outputs")):
        rights = list(probe_storage(location))
        assert [right.problem for right in rights] == [None] * 6
        assert [right.name for right in rights] == [
            "put",
            "get",
            "list",
            "create-only put",
            "multipart upload",
            "delete",
        ]
        assert not location.has_files()
    assert list((tmp_path / "outputs").iterdir()) == []


def test_two_checks_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: check_storage(open_location(tmp_path)), range(40)))
    assert list(tmp_path.iterdir()) == []


def test_a_service_that_ignores_if_none_match_is_refused(service: Service) -> None:
    check_storage(bucket(service))
    service.ignores_conditions = True
    error = problem(bucket(service))
    assert (
        isinstance(error, ConfigurationError)
        and "If-None-Match" in str(error)
        and "s3://bucket/experiments" in str(error)
    )
    assert service.objects == {}, "the probe is removed after a failure too"


def test_missing_credentials(s3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    error = problem(s3.location)
    assert isinstance(error, ConfigurationError) and "AWS_ACCESS_KEY_ID" in str(error)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "'nobody'" in str(problem(s3.location))


def test_missing_bucket(s3) -> None:
    error = problem(open_location("s3://no-such-bucket-here/x"))
    assert isinstance(error, ConfigurationError) and "no bucket 'no-such-bucket-here'" in str(error)


def test_wrong_secret_and_unknown_key(s3, minio_only: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    error = problem(s3.location)
    assert isinstance(error, ConfigurationError) and "secret key is wrong" in str(error)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "unknown")
    assert "access key is not known" in str(problem(s3.location))


def test_refused_endpoint(s3, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        error = problem(s3.location)
    assert isinstance(error, ServiceUnavailableError) and address in str(error)


@pytest.mark.parametrize(
    ("endpoint", "word"), [("minio:9000", "not a valid"), ("http://", "not a valid"), ("https://{}", "TLS")]
)
def test_endpoints_that_cannot_be(s3, monkeypatch: pytest.MonkeyPatch, endpoint: str, word: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint.format(s3.server.endpoint.removeprefix("http://")))
    error = problem(s3.location)
    assert isinstance(error, ConfigurationError) and word in str(error)


@pytest.mark.parametrize(
    ("method", "operation"),
    [("PUT", "PutObject"), ("GET", "GetObject"), ("POST", "MultipartUpload"), ("DELETE", "Delete")],
)
def test_a_missing_right_is_named(service: Service, method: str, operation: str) -> None:
    service.denied = method
    error = problem(bucket(service))
    assert isinstance(error, ConfigurationError) and "denied" in str(error) and operation in str(error)


def test_the_environment_wins_over_the_documents_endpoint(s3) -> None:
    check_storage(open_location(s3.uri, endpoint="http://127.0.0.1:9"))


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "a file exists where a folder is needed" in str(problem(open_location(tmp_path / "file/outputs")))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "may not write" in str(problem(open_location(tmp_path / "outputs")))


class TestTroublesomeServices:
    """Lost answers, conflicts, and services that are down for a while."""

    def test_a_lost_answer_to_a_create_only_put_is_still_ours(self, service: Service) -> None:
        service.loses_answers = 1
        assert (bucket(service) / "claim").create_bytes(b"mine")
        assert [request for request in service.requests if request.startswith("PUT")] == [
            "PUT bucket/experiments/claim"
        ] * 2
        assert not (bucket(service) / "claim").create_bytes(b"mine"), "equal bytes of another writer are not ours"

    def test_a_conflict_is_asked_again(self, service: Service) -> None:
        service.conflicts = 2
        assert (bucket(service) / "claim").create_bytes(b"mine")

    def test_requests_wait_for_a_service_that_is_down(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        service.down = 7  # more than botocore's own retries
        (bucket(service) / "x").write_bytes(b"data")
        assert service.objects["bucket/experiments/x"][0] == b"data"
        monkeypatch.setenv("GROOT_RAY_STORAGE_PATIENCE", "0")
        service.down = 100
        with pytest.raises(ServiceUnavailableError, match="s3://bucket/experiments/y"):
            (bucket(service) / "y").write_bytes(b"")

    def test_a_lost_answer_at_the_end_of_a_multipart_upload(
        self, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("groot_ray.storage.s3.PART_SIZE", 1000)
        (tmp_path / "big").write_bytes(os.urandom(2500))
        service.loses_answers = 1
        assert (bucket(service) / "big").upload(tmp_path / "big")
        assert service.objects["bucket/experiments/big"][0] == (tmp_path / "big").read_bytes()
        assert service.uploads == {} and len(service.metadata) == 1, "recognized by its writer's ID, not sent again"
