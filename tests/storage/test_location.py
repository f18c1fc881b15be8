"""Locations on a disk and in S3 behave the same: atomic writes, create-only, listing, reading, copying."""

from __future__ import annotations

import os
import pickle
import threading
from pathlib import Path

import pytest

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.storage import Location, NotFoundError, open_location
from groot_ray.storage.local import explained_write


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """An empty folder, on a disk and then in a bucket."""
    if request.param == "local":
        return open_location(tmp_path / "place")
    return request.getfixturevalue("s3").location / "some/prefix"


@pytest.fixture(params=["local", "s3"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    if request.param == "local":
        return open_location(tmp_path / "elsewhere")
    return request.getfixturevalue("s3").location / "elsewhere"


def test_names() -> None:
    top = open_location("s3://bucket/a/b/", endpoint="http://minio:9000/")
    assert (top.uri, top.name, top.parent.uri, top.endpoint) == (
        "s3://bucket/a/b",
        "b",
        "s3://bucket/a",
        "http://minio:9000",
    )
    assert (top / "c/d").uri == "s3://bucket/a/b/c/d" and top / "" == top and not top.is_local
    assert open_location("s3://bucket").name == "bucket" and (open_location("s3://bucket") / "a").uri == "s3://bucket/a"
    assert open_location("s3://bucket").parent == open_location("s3://bucket")
    local = open_location("file:///data/my%20robot")
    assert local.path == Path("/data/my robot") and (local / "x").uri == "/data/my robot/x"
    assert open_location("/").parent.uri == "/" and (open_location("/") / "a").uri == "/a"
    assert open_location(local.uri) == local and open_location(top) is top
    assert (
        pickle.loads(pickle.dumps(top)) == top
        and len({top, open_location("s3://bucket/a/b", "http://minio:9000")}) == 1
    )


def test_relative_paths_count_from_here_and_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_location("out/x").path == tmp_path / "out" / "x"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_location("~/y").path == tmp_path / "y"


@pytest.mark.parametrize(
    ("uri", "word"),
    [
        ("gs://b/x", "'gs'"),
        ("s3:/bucket/x", "s3://bucket"),
        ("s3://", "bucket"),
        ("", "empty"),
        ("file://host/x", "three slashes"),
    ],
)
def test_an_invalid_location_is_reported_in_one_sentence(uri: str, word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        open_location(uri)


def test_paths_cannot_leave_their_folder() -> None:
    with pytest.raises(ConfigurationError, match="'\\.\\.'"):
        open_location("/data") / "a/../../etc"


def test_write_read_replace(place: Location) -> None:
    file = place / "deep/er/file.bin"
    assert not file.exists() and file.stat() is None
    with pytest.raises(NotFoundError, match=file.uri):
        file.read_bytes()
    with pytest.raises(NotFoundError):
        file.open()
    file.write_bytes(b"one")
    file.write_bytes(b"two!")
    assert file.read_bytes() == b"two!" and file.size() == 4 and file.exists()
    assert not (place / "deep").exists() and (place / "deep").has_files() and not (place / "dee").has_files()
    (place / "a.json").write_json({"ü": [1, 2.5, None]})
    assert (place / "a.json").read_json() == {"ü": [1, 2.5, None]}
    (place / "bad").write_bytes(b"\xff{")
    with pytest.raises(DataError, match="UTF-8"):
        (place / "bad").read_json()
    (place / "bad").write_bytes(b"{")
    with pytest.raises(DataError, match="not valid JSON"):
        (place / "bad").read_json()


def test_create_only(place: Location) -> None:
    file = place / "claim.json"
    assert file.create_json({"by": 1})
    assert not file.create_json({"by": 2})
    assert not file.create_json({"by": 1}), "equal bytes of another writer are not ours"
    assert file.read_json() == {"by": 1}


def test_one_of_many_creators_wins(place: Location) -> None:
    file = place / "claim"
    won: list[int] = []
    gate = threading.Barrier(8)

    def claim(number: int) -> None:
        gate.wait()
        if file.create_bytes(str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and file.read_bytes() == str(won[0]).encode()


def test_list(place: Location) -> None:
    assert list(place.list()) == []
    for name in ("b/2", "b/1", "a", "b.txt", "c/d/e", "b-x"):
        (place / name).write_bytes(name.encode())
    (place.parent / "place-2").write_bytes(b"beside")
    found = list(place.list())
    assert [entry.relative for entry in found] == ["a", "b-x", "b.txt", "b/1", "b/2", "c/d/e"], "as UTF-8 text, like S3"
    assert [entry.size for entry in found] == [1, 3, 5, 3, 3, 5]
    assert found[3].location.read_bytes() == b"b/1"
    assert [entry.relative for entry in place.list(recursive=False)] == ["a", "b-x", "b.txt"]
    assert [folder.name for folder in place.folders()] == ["b", "c"]


def test_long_listings_come_in_pages(s3) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda n: (s3.location / f"many/{n:05d}").write_bytes(b""), range(1003)))
    assert [entry.relative for entry in (s3.location / "many").list()] == [f"{n:05d}" for n in range(1003)]
    (s3.location / "many").delete_tree()
    assert not (s3.location / "many").has_files()


def test_delete(place: Location) -> None:
    for name in ("x/1", "x/2", "xy"):
        (place / name).write_bytes(b"")
    (place / "x").delete_tree()
    (place / "x").delete_tree()
    (place / "nothing").delete()
    assert [entry.relative for entry in place.list()] == ["xy"]
    (place / "xy").delete()
    assert not place.has_files()


def test_a_whole_storage_is_never_removed() -> None:
    for top in ("/", "s3://bucket"):
        with pytest.raises(ConfigurationError, match="never removed"):
            open_location(top).delete_tree()


def test_reader_seeks(place: Location) -> None:
    data = os.urandom(3_000_000)
    (place / "big").write_bytes(data)
    with (place / "big").open() as stream:
        assert stream.seekable() and stream.read(10) == data[:10]
        assert stream.seek(-5, os.SEEK_END) == 2_999_995 and stream.read() == data[-5:] and stream.read(1) == b""
        stream.seek(1_234_567)
        assert stream.read(1_500_000) == data[1_234_567:2_734_567]
        stream.seek(-100, os.SEEK_CUR)
        assert stream.read(100) == data[2_734_467:2_734_567]


def test_pyarrow_and_pyav_read_through_it(place: Location, aloha_dataset: Path) -> None:
    import av
    import pyarrow.parquet as parquet

    table = aloha_dataset / "data/chunk-000/episode_000000.parquet"
    video = next(aloha_dataset.glob("videos/*/*/episode_000000.mp4"))
    (place / "t").upload(table)
    (place / "v").upload(video)
    with (place / "t").open() as stream:
        assert parquet.read_table(stream).equals(parquet.read_table(table))
    with (place / "v").open() as stream, av.open(stream) as container:
        container.seek(4_000_000)
        assert next(container.decode(video=0)).width == 640


def test_a_reader_notices_that_its_object_was_replaced(s3) -> None:
    from groot_ray.errors import TemporaryFailureError

    file = s3.location / "x"
    file.write_bytes(os.urandom(3_000_000))
    with file.open() as stream:
        stream.read(10)
        file.write_bytes(os.urandom(3_000_000))
        stream.seek(2_500_000)
        with pytest.raises(TemporaryFailureError, match="replaced"):
            stream.read(10)


def test_upload_and_download(place: Location, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"hello")
    assert (place / "x").upload(source) and (place / "x").upload(source)
    assert not (place / "x").upload(source, create_only=True) and (place / "y").upload(source, create_only=True)
    with pytest.raises(NotFoundError):
        (place / "z").upload(tmp_path / "missing")
    (place / "x").download(tmp_path / "deep/target")
    assert (tmp_path / "deep/target").read_bytes() == b"hello"
    with pytest.raises(NotFoundError):
        (place / "missing").download(tmp_path / "missing")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.name.endswith(".partial")) == []
    with (place / "x").as_local() as path:
        assert path.name == "x" and path.read_bytes() == b"hello"


def test_multipart_upload(s3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groot_ray.storage.s3.PART_SIZE", 5 << 20)
    data = os.urandom((12 << 20) + 17)
    source = tmp_path / "big"
    source.write_bytes(data)
    file = s3.location / "big"
    assert file.upload(source, create_only=True)
    assert file.read_bytes() == data and s3.client.head_object(Bucket=s3.name, Key="big")["ETag"].endswith('-3"')
    assert not file.upload(source, create_only=True)
    source.write_bytes(data[:-1])
    assert file.upload(source) and file.size() == len(data) - 1
    file.download(tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data[:-1]


def test_two_multipart_uploads_at_once_make_one_object(
    s3, minio_only: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both start before the object exists; create-only is checked at the end of the upload too."""
    monkeypatch.setattr("groot_ray.storage.s3.PART_SIZE", 5 << 20)
    gate = threading.Barrier(2)
    won: list[bytes] = []

    def send(mark: bytes) -> None:
        path = tmp_path / mark.decode()
        path.write_bytes(mark * (11 << 20))
        gate.wait()
        if (s3.location / "one").upload(path, create_only=True):
            won.append(mark)

    threads = [threading.Thread(target=send, args=(mark,)) for mark in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and (s3.location / "one").read_bytes()[:1] == won[0]
    assert s3.client.list_multipart_uploads(Bucket=s3.name).get("Uploads", []) == []


def test_a_failed_multipart_upload_leaves_nothing(s3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groot_ray.storage.s3.PART_SIZE", 6 << 20)
    source = tmp_path / "big"
    source.write_bytes(bytes(12 << 20))
    store = (s3.location / "x").store
    before = store.client.upload_part

    def break_off(**request):
        answer = before(**request)
        if request["PartNumber"] == 1:
            raise OSError("the disk went away")
        return answer

    monkeypatch.setattr(store.client, "upload_part", break_off)
    with pytest.raises(OSError, match="went away"):
        (s3.location / "x").upload(source)
    assert not (s3.location / "x").exists()
    assert s3.client.list_multipart_uploads(Bucket=s3.name).get("Uploads", []) == []


def test_copy(place: Location, elsewhere: Location) -> None:
    (place / "x").write_bytes(b"payload")
    (elsewhere / "deep/y").copy_from(place / "x")
    assert (elsewhere / "deep/y").read_bytes() == b"payload"
    with pytest.raises(NotFoundError):
        (elsewhere / "z").copy_from(place / "missing")


def test_a_killed_write_leaves_no_half_file(place: Location, tmp_path: Path) -> None:
    """A process that dies during a write, at any moment, leaves the old file and nothing that a listing shows."""
    import subprocess
    import sys
    import time

    (place / "file").write_bytes(b"old" * 1000)
    script = (
        "import sys\nfrom groot_ray.storage import open_location\n"
        "print('ready', flush=True)\n"
        "while True:\n    (open_location(sys.argv[1]) / 'file').write_bytes(b'new' * 3_000_000)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, place.uri], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    time.sleep(0.37)
    process.kill()
    process.wait()
    process.stdout.close()
    assert (place / "file").read_bytes() in (b"old" * 1000, b"new" * 3_000_000)
    assert [entry.relative for entry in place.list()] == ["file"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="a file exists where a folder is needed"):
        (open_location(tmp_path) / "file/below").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigurationError, match="a file exists where a folder is needed"):
        (open_location(tmp_path) / "folder").write_bytes(b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_the_storages_clock_and_stamps_agree(place: Location) -> None:
    (place / "x").write_bytes(b"")
    found = (place / "x").stat()
    assert found is not None and -2.0 < (place / "x").clock() - found.modified < 30.0


def test_a_full_disk_is_reported() -> None:
    with pytest.raises(ConfigurationError, match="run/a cannot be written: the disk is full"), explained_write("run/a"):
        Path("/dev/full").write_bytes(b"x")
