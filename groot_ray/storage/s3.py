"""Objects in an S3 bucket: put whole, created exactly once by `If-None-Match: *`, read by ranges, big ones in parts.

A create-only put is answered in three ways: 200; 409 (another put is under way: ask again); 412 (something is there). As a put
whose answer was lost is sent again by botocore and then meets its own object, every object that we create carries its writer's
id, and a 412 is believed only after reading it back.
"""

from __future__ import annotations

import io
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from groot_ray.errors import ServiceUnavailableError, TemporaryFailureError
from groot_ray.storage.client import s3_client
from groot_ray.storage.failures import explained
from groot_ray.storage.store import Listed, NotFoundError, Stat

log = logging.getLogger(__name__)

MIB = 1 << 20
PART_SIZE = 32 * MIB
READ_SIZE = 1 * MIB
COPY_LIMIT = 5 << 30  # S3 copies at most 5 GiB in one request
MAX_PARTS = 10_000
WRITER = "groot-ray-writer"

T = TypeVar("T")


def patience() -> float:
    """Seconds for which a service that does not answer is asked again (GROOT_RAY_STORAGE_PATIENCE, 120)."""
    try:
        return float(os.environ.get("GROOT_RAY_STORAGE_PATIENCE", "120"))
    except ValueError:
        return 120.0


@lru_cache(maxsize=256)
def s3_store(bucket: str, endpoint: str | None, region: str | None) -> S3Store:
    """The store of a bucket; making it connects to nothing."""
    return S3Store(bucket, endpoint, region)


class S3Store:
    """The objects of one bucket; keys are object keys. See `store.Store` for what each method promises."""

    def __init__(self, bucket: str, endpoint: str | None, region: str | None, patient: bool = True) -> None:
        self.bucket = bucket
        self.endpoint = endpoint
        self.region = region
        self.patient = patient

    @property
    def client(self) -> Any:
        """The process's boto3 client."""
        return s3_client(self.endpoint, self.region, self.patient)

    def uri(self, key: str) -> str:
        """`s3://bucket/key`, for sentences."""
        return f"s3://{self.bucket}/{key}".rstrip("/")

    # --- reading -----------------------------------------------------------------------------------------------------------

    def stat(self, key: str) -> Stat | None:
        answer = self._head(key)
        if answer is None:
            return None
        return Stat(answer["ContentLength"], answer["LastModified"].timestamp(), answer["ETag"])

    def clock(self, key: str) -> float:
        def ask() -> float:
            answer = self.client.list_objects_v2(Bucket=self.bucket, Prefix=key, MaxKeys=1)
            date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
            now = parsedate_to_datetime(date) if date else datetime.now(UTC)
            return now.timestamp()

        return self._ask(key, ask)

    def read(self, key: str) -> bytes:
        return self._ask(key, lambda: self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def open(self, key: str) -> BinaryIO:
        found = self.stat(key)
        if found is None:
            raise NotFoundError(f"there is no object {self.uri(key)}")
        return io.BufferedReader(ObjectReader(self, key, found), READ_SIZE)  # type: ignore[return-value]

    def read_range(self, key: str, first: int, length: int, version: str) -> bytes:
        """Bytes [first, first + length) of an object that is still the one that was opened."""

        def ask() -> bytes:
            answer = self.client.get_object(Bucket=self.bucket, Key=key, Range=f"bytes={first}-{first + length - 1}")
            if answer["ETag"] != version:
                raise TemporaryFailureError(f"{self.uri(key)} was replaced while it was read; read it again")
            return answer["Body"].read()

        return self._ask(key, ask)

    def list(self, key: str, recursive: bool) -> Iterator[Listed]:
        prefix = _folder(key)
        for page in self._pages(prefix, "" if recursive else "/"):
            for item in page.get("Contents", ()):
                relative = item["Key"][len(prefix) :]
                if relative and not relative.endswith("/"):  # consoles mark empty folders by objects that end in '/'
                    yield Listed(relative, item["Size"], item["LastModified"].timestamp(), item["ETag"])

    def folders(self, key: str) -> Iterator[str]:
        prefix = _folder(key)
        for page in self._pages(prefix, "/"):
            for item in page.get("CommonPrefixes", ()):
                yield item["Prefix"][len(prefix) :].rstrip("/")

    def download(self, key: str, path: Path) -> None:
        from groot_ray.storage.local import place_file

        place_file(path, lambda partial: self._fetch(key, partial), create_only=False)

    def _fetch(self, key: str, path: Path) -> None:
        """Stream an object to a file, going on from where a broken connection stopped."""
        found = self.stat(key)
        if found is None:
            raise NotFoundError(f"there is no object {self.uri(key)}")
        with path.open("wb") as stream:
            while stream.tell() < found.size:
                stream.write(
                    self.read_range(key, stream.tell(), min(8 * MIB, found.size - stream.tell()), found.version)
                )

    def _pages(self, prefix: str, delimiter: str) -> Iterator[dict[str, Any]]:
        token: str | None = None
        while True:
            more = {"ContinuationToken": token} if token else {}

            def ask(more: dict[str, str] = more) -> dict[str, Any]:
                return self.client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, Delimiter=delimiter, **more)

            page = self._ask(prefix, ask)
            yield page
            token = page.get("NextContinuationToken")
            if not token:
                return

    def _head(self, key: str) -> dict[str, Any] | None:
        try:
            return self._ask(key, lambda: self.client.head_object(Bucket=self.bucket, Key=key))
        except NotFoundError:
            return None

    # --- writing -----------------------------------------------------------------------------------------------------------

    def write(self, key: str, data: bytes) -> None:
        self._ask(key, lambda: self.client.put_object(Bucket=self.bucket, Key=key, Body=data))

    def create(self, key: str, data: bytes) -> bool:
        return self._create(
            key,
            lambda writer: self.client.put_object(
                Bucket=self.bucket, Key=key, Body=data, IfNoneMatch="*", Metadata=writer
            ),
        )

    def upload(self, key: str, path: Path, create_only: bool) -> bool:
        if not path.is_file():
            raise NotFoundError(f"there is no file {path}")
        if path.stat().st_size > PART_SIZE:
            if create_only and self.stat(key) is not None:
                return False
            return self._upload_parts(key, path, create_only)
        data = path.read_bytes()
        if create_only:
            return self.create(key, data)
        self.write(key, data)
        return True

    def put_in_parts(self, key: str, data: bytes) -> None:
        """A multipart upload of one small part: how a check finds out whether the credentials may."""
        import tempfile

        with tempfile.NamedTemporaryFile(prefix="groot-ray-") as stream:
            stream.write(data)
            stream.flush()
            self._upload_parts(key, Path(stream.name), create_only=False)

    def _upload_parts(self, key: str, path: Path, create_only: bool) -> bool:
        """Multipart upload, taken back when anything fails, so that no invisible parts are left to be paid for."""
        size = path.stat().st_size
        part_size = max(PART_SIZE, -(-size // MAX_PARTS))
        offsets = range(0, size, part_size)

        def attempt(writer: dict[str, str]) -> Any:
            begun = self._ask(
                key, lambda: self.client.create_multipart_upload(Bucket=self.bucket, Key=key, Metadata=writer)
            )
            upload = {"Bucket": self.bucket, "Key": key, "UploadId": begun["UploadId"]}

            def send(number: int) -> dict[str, Any]:
                with path.open("rb") as stream:
                    stream.seek(offsets[number - 1])
                    data = stream.read(part_size)
                answer = self._ask(key, lambda: self.client.upload_part(**upload, PartNumber=number, Body=data))
                return {"PartNumber": number, "ETag": answer["ETag"]}

            try:
                with ThreadPoolExecutor(4, "upload") as threads:
                    parts = list(threads.map(send, range(1, len(offsets) + 1)))
                condition = {"IfNoneMatch": "*"} if create_only else {}
                return self.client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, **condition)
            except BaseException:
                self._abort(upload)
                raise

        return self._create(key, attempt)

    def _abort(self, upload: dict[str, str]) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self.client.abort_multipart_upload(**upload)
        except (ClientError, BotoCoreError) as error:
            log.debug("upload of %s could not be taken back: %s", self.uri(upload["Key"]), error)

    def _create(self, key: str, put: Callable[[dict[str, str]], Any]) -> bool:
        """Call `put` with the writer's id as metadata until it is known whose object is there."""
        from botocore.exceptions import ClientError

        writer = {WRITER: uuid.uuid4().hex}

        def ask() -> bool:
            for pause in (0.1, 0.2, 0.5, 1.0, 2.0, 4.0, None):
                try:
                    put(writer)
                    return True
                except ClientError as error:
                    code = error.response.get("Error", {}).get("Code", "")
                    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
                    if status == 412 or code in ("PreconditionFailed", "NoSuchUpload"):
                        found = self._head(key)
                        if found is not None and found.get("Metadata", {}).get(WRITER) == writer[WRITER]:
                            return True
                        if code != "NoSuchUpload":
                            return False
                    elif status != 409:
                        raise
                    if pause is None:
                        raise
                    time.sleep(pause)
            return False

        return self._ask(key, ask)

    def copy(self, source: str, target: str) -> None:
        """Copy within the service; `source` is `bucket/key`."""
        bucket, _, key = source.partition("/")
        origin = {"Bucket": bucket, "Key": key}
        found = s3_store(bucket, self.endpoint, self.region).stat(key)
        if found is None:
            raise NotFoundError(f"there is no object s3://{source}")
        if found.size <= COPY_LIMIT:
            self._ask(target, lambda: self.client.copy_object(Bucket=self.bucket, Key=target, CopySource=origin))
        else:
            self._ask(target, lambda: self.client.copy(origin, self.bucket, target))

    def delete(self, key: str) -> None:
        self._ask(key, lambda: self.client.delete_object(Bucket=self.bucket, Key=key))

    def delete_tree(self, key: str) -> None:
        # One request a object: DeleteObjects needs a checksum that services disagree on.
        keys = [_folder(key) + found.relative for found in self.list(key, True)]
        with ThreadPoolExecutor(8, "delete") as threads:
            list(threads.map(self.delete, keys))

    def unfinished_uploads(self, key: str) -> Iterator[tuple[str, str, float]]:
        """Multipart uploads below a folder that were neither completed nor aborted: key, upload id, time of their beginning."""
        marks: dict[str, str] = {}
        while True:

            def ask(marks: dict[str, str] = marks) -> dict[str, Any]:
                return self.client.list_multipart_uploads(Bucket=self.bucket, Prefix=_folder(key), **marks)

            page = self._ask(key, ask)
            for item in page.get("Uploads", ()):
                yield item["Key"], item["UploadId"], item["Initiated"].timestamp()
            if not page.get("IsTruncated"):
                return
            marks = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Take back an unfinished multipart upload."""
        self._abort({"Bucket": self.bucket, "Key": key, "UploadId": upload_id})

    # --- asking ------------------------------------------------------------------------------------------------------------

    def _ask(self, key: str, request: Callable[[], T]) -> T:
        """Make a request; one that gets no answer is repeated for `patience()` seconds, as for a service that restarts."""
        give_up = time.monotonic() + (patience() if self.patient else 0.0)
        pause = 0.5
        while True:
            try:
                with explained(self.uri(key)):
                    return request()
            except ServiceUnavailableError as error:
                if time.monotonic() + pause > give_up:
                    raise
                log.warning("%s; trying again", error)
                time.sleep(pause)
                pause = min(pause * 2, 10.0)


class ObjectReader(io.RawIOBase):
    """A seekable reader of one object by ranged requests; a buffer around it makes them few."""

    def __init__(self, store: S3Store, key: str, found: Stat) -> None:
        self._store = store
        self._key = key
        self._found = found
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._found.size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self._found.size - self._position)
        if length <= 0:
            return 0
        data = self._store.read_range(self._key, self._position, length, self._found.version)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def _folder(key: str) -> str:
    """The prefix of what is in a folder; the bucket's top has none."""
    return f"{key.rstrip('/')}/" if key.strip("/") else ""
