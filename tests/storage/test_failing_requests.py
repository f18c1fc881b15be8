"""Every request that storage makes fails once, in every way; what was asked for still happens, exactly once.

The failing proxy and the server are real. Only waiting is shortened: a retry after seconds comes after milliseconds.
"""

from __future__ import annotations

import json
import os
import queue
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from faulty_proxy import FAILURES, FaultyProxy, faulty_proxies

from groot_ray.errors import ConfigurationError, ServiceUnavailableError
from groot_ray.storage import Location, check_storage, copy_tree, mirror, open_location, upload_tree
from groot_ray.storage.lease import Attempt, Ticket, adopt_attempt, claim_attempt, end_attempt, last_attempt
from groot_ray.storage.logs import LogPieces, read_log
from groot_ray.storage.manifest import FileRecord, Manifest, commit_manifest, read_files, read_manifest, write_files

WALKERS = 8
PART = 5 << 20  # the smallest part that S3 accepts before the last one
DIRECT = Path("direct")
QUICK = 3  # the quick variant fails one of so many requests


@pytest.fixture
def proxies(s3, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[FaultyProxy]]:
    """Proxies before the server. Locations name their endpoint, because each walk has its own proxy."""
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    monkeypatch.setattr("groot_ray.storage.s3.PAGE_SIZE", 2)
    sleep = time.sleep
    monkeypatch.setattr("time.sleep", lambda seconds: sleep(min(seconds, 0.01)))
    with faulty_proxies(s3.server.endpoint, WALKERS) as running:
        yield running


@dataclass(frozen=True)
class Walk:
    """One operation of a stage: what has to be there before, the operation, and what is true afterwards."""

    before: Callable[[Location], object]
    act: Callable[[Location, Path], object]
    overwrites: bool = False


def claim(folder: Location) -> Attempt:
    attempt = claim_attempt(folder, wait=False)
    assert attempt is not None
    return attempt


def an_attempt(folder: Location, _: Path) -> object:
    """Claim, heartbeat, check, adopt, end, look."""
    attempt = claim(folder)
    (folder / "attempts/1.heartbeat.json").write_json({"beats": 1})
    attempt.check()
    adopted = adopt_attempt(folder, 1, attempt.ticket.owner)
    attempt.hand_over()
    adopted.end(0, "done")
    state = last_attempt(folder)
    assert state is not None
    return attempt.number, state.number, state.ended, state.code


def a_second_claim(folder: Location, _: Path) -> object:
    """Claim behind an attempt that has ended; the earlier holder finds its successor."""
    attempt = claim(folder)
    attempt.end(75, "stopped")
    with pytest.raises(Exception, match="taken over"):
        Ticket(folder, 1, "first").check()
    return attempt.number


def an_ended_attempt(folder: Location) -> None:
    first = claim(folder)
    first.hand_over()
    state = last_attempt(folder)
    assert state is not None
    end_attempt(folder, state, 65, "broken")


def a_tree(folder: Location, local: Path) -> object:
    """Upload a folder, copy it within the service, mirror it to the node."""
    for name in ("a/one", "two", "three"):
        (local / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (local / "tree" / name).write_bytes(name.encode() * 100)
    numbers = upload_tree(local / "tree", folder / "tree"), copy_tree(folder / "tree", folder / "copy")
    here = mirror(folder / "copy", local / "cache")
    with (folder / "copy/two").open() as stream:
        stream.seek(3)
        middle = stream.read(6)
    return numbers, sorted((str(path.relative_to(here)), path.read_bytes()) for path in here.rglob("?*e")), middle


def a_commit(folder: Location, _: Path) -> object:
    """Commit a manifest and the list of its files, exactly once, and point at it."""
    digest = write_files(folder, [FileRecord("data", 1, "0" * 64)])
    manifest = Manifest(stage="convert", key="k", version="1", files_hash=digest)
    commit_manifest(folder, manifest)
    (folder / "current.json").write_json({"convert": "k"})
    assert not (folder / "manifest.json").create_json({"another": "attempt"})
    return read_manifest(folder) == manifest, read_files(folder)


def a_large_file(folder: Location, local: Path) -> object:
    """A create-only upload in parts, and a second one that must not replace it."""
    made = (folder / "large").upload(DIRECT, create_only=True)
    again = (folder / "large").upload(DIRECT, create_only=True)
    (folder / "large").download(local / "large")
    return made, again, (local / "large").read_bytes() == DIRECT.read_bytes()


def a_large_overwrite(folder: Location, _: Path) -> object:
    return (folder / "large").upload(DIRECT)


def logs(folder: Location, _: Path) -> object:
    pieces = LogPieces(folder / "logs/attempt-1", "driver")
    pieces.add(b"one\n")
    pieces.add(b"two\n")
    return b"".join(read_log(folder, "attempt-1", "driver"))


def several_files(folder: Location) -> None:
    for name in ("a", "b/c", "b/d", "e", "f"):
        (folder / "old" / name).write_bytes(name.encode())


def cleaning(folder: Location, _: Path) -> object:
    """List in pages, folder by folder, and delete."""
    names = [entry.relative for entry in (folder / "old").list()]
    folders = [found.name for found in (folder / "old").folders()]
    uploads = list(folder.store.unfinished_uploads(folder.key))
    (folder / "old").delete_tree()
    return names, folders, uploads, (folder / "old").has_files()


def check(folder: Location, _: Path) -> object:
    return check_storage(folder)


def nothing(_: Location) -> None:
    """Nothing has to be there."""


WALKS = {
    "check": Walk(nothing, check),
    "attempt": Walk(nothing, an_attempt),
    "second claim": Walk(an_ended_attempt, a_second_claim),
    "tree": Walk(nothing, a_tree),
    "commit": Walk(nothing, a_commit),
    "large file": Walk(nothing, a_large_file),
    "large overwrite": Walk(nothing, a_large_overwrite),
    "logs": Walk(nothing, logs),
    "cleaning": Walk(several_files, cleaning),
}


class Walker:
    """Runs an operation in fresh folders of a bucket, through one of the proxies."""

    def __init__(self, walk: Walk, bucket, proxies: list[FaultyProxy], local: Path) -> None:
        self.walk, self.bucket, self.local = walk, bucket, local
        self.free: queue.Queue[FaultyProxy] = queue.Queue()
        for proxy in proxies:
            self.free.put(proxy)

    def run(self, at: int = 0, failure: str = "") -> tuple[object, dict[str, object], list[str]]:
        """What the operation returned, what is then in the bucket, and the requests that were made."""
        name = uuid.uuid4().hex
        endpoint = self.bucket.server.endpoint
        direct = open_location(f"{self.bucket.uri}/{name}", endpoint)
        self.walk.before(direct)
        (self.local / name).mkdir()
        proxy = self.free.get()
        try:
            proxy.reset(at, failure)
            answer = self.walk.act(open_location(f"{self.bucket.uri}/{name}", proxy.url), self.local / name)
            assert bool(proxy.failed) == (at > 0), f"request {at} was not made"
            return answer, contents(direct), proxy.requests
        except Exception as error:
            error.add_note(f"request {at}, {failure}: {proxy.failed}")
            raise
        finally:
            self.free.put(proxy)


def contents(folder: Location) -> dict[str, object]:
    """Every file with its bytes (of JSON: its keys, because values hold times and IDs)."""
    found: dict[str, object] = {}
    for entry in folder.list():
        data = entry.location.read_bytes() if entry.size < 1000 else entry.version
        is_json = isinstance(data, bytes) and entry.relative.endswith(".json") and "attempts" in entry.relative
        found[entry.relative] = sorted(json.loads(data)) if is_json else data
    return found


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["one way", "every way"])
@pytest.mark.parametrize("operation", WALKS)
def test_every_request_may_fail_once(
    operation: str, every: bool, s3, proxies: list[FaultyProxy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request in every way; the quick variant fails every third request, in one way each."""
    if operation.startswith("large"):
        monkeypatch.setattr("groot_ray.storage.s3.PART_SIZE", PART)
        (tmp_path / "direct").write_bytes(os.urandom(PART + 1000))
        monkeypatch.setattr("test_failing_requests.DIRECT", tmp_path / "direct")
    walker = Walker(WALKS[operation], s3, proxies, tmp_path)
    expected, left, requests = walker.run()
    with ThreadPoolExecutor(WALKERS) as threads:
        walks = [
            (at, failure, threads.submit(walker.run, at, failure))
            for at in range(1, len(requests) + 1)
            for turn, failure in enumerate(FAILURES)
            if every
            or (at % QUICK == len(operation) % QUICK and (at // QUICK + len(operation)) % len(FAILURES) == turn)
        ]
    for at, failure, walk in walks:
        answer, found, made = walk.result()
        where = f"request {at} ({requests[at - 1]}), {failure}: {made}"
        assert answer == expected, where
        assert found == left, where
    lost = sum("uploads " in request for request in requests) * len(FAILURES)
    unfinished = s3.client.list_multipart_uploads(Bucket=s3.name).get("Uploads", ())
    assert len(unfinished) <= lost, "only an upload whose ID was lost stays, for gc"


def test_a_storage_that_is_gone_from_any_request_on_ends_in_one_sentence(
    s3, proxies: list[FaultyProxy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the same operation succeeds, whatever was left behind."""
    monkeypatch.setenv("GROOT_RAY_STORAGE_PATIENCE", "0")
    proxy, number = proxies[0], 0
    while True:
        number += 1
        folder = s3.location / f"gone-{number}"
        through, direct = open_location(folder.uri, proxy.url), open_location(folder.uri, s3.server.endpoint)
        proxy.reset(number, "503", onwards=True)
        if not proxy_hits(through, proxy, tmp_path):
            break
        assert read_manifest(direct) is None or number > 2
        a_commit(direct, tmp_path)
    assert number > 5


def proxy_hits(folder: Location, proxy: FaultyProxy, local: Path) -> bool:
    try:
        a_commit(folder, local)
    except ServiceUnavailableError as error:
        assert "\n" not in str(error) and "503" in str(error).replace("SlowDown", "503") and folder.uri in str(error)
        return True
    return False


def test_wrong_credentials_and_buckets_are_not_tried_twice(
    s3, proxies: list[FaultyProxy], minio_only: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = proxies[0]
    for uri, secret in (("s3://no-such-bucket-here/x", None), (s3.uri, "wrong")):
        if secret is not None:
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        proxy.reset()
        with pytest.raises(ConfigurationError):
            check_storage(open_location(uri, proxy.url))
        assert len(proxy.requests) <= 3, "the put, and the removal of the probe"
