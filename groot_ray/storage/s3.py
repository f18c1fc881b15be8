"""Objects in an S3 bucket: complete puts, create-only puts by `If-None-Match: *`, ranged reads, multipart uploads.

A create-only put has three answers: 200, 409 (another put is in progress, retry) and 412 (the object exists).
botocore retries a put whose answer was lost, and the retry finds its own object. So every created object carries its
writer's ID, and a 412 counts only if the ID read back is another writer's.
"""

from __future__ import annotations

import io
import logging
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
from groot_ray.storage.s3_reader import ObjectReader
from groot_ray.storage.s3_retry import (
    check_patience,
    is_taken,
    is_used_up,
    patience,
    while_unavailable,
    while_undecided,
)
from groot_ray.storage.store import Listed, NotFoundError, Seen, Stat

log = logging.getLogger(__name__)

MIB = 1 << 20
PART_SIZE = 32 * MIB
READ_SIZE = 1 * MIB
COPY_LIMIT = 5 << 30  # S3 copies at most 5 GiB in one request
MAX_PARTS = 10_000
PAGE_SIZE = 1000  # keys in one answer to a listing, S3's own limit
WRITER = "groot-ray-writer"  # metadata of created objects

T = TypeVar("T")


@lru_cache(maxsize=256)
def s3_store(bucket: str, endpoint: str | None, region: str | None) -> S3Store:
    """The store of a bucket; does not connect yet."""
    return S3Store(bucket, endpoint, region)


class S3Store:
    """The objects of one bucket; keys are object keys. See `store.Store` for the guarantees of each method."""

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
        """`s3://bucket/key`, for messages."""
        return f"s3://{self.bucket}/{key}".rstrip("/")

    # --- reading ----------------------------------------------------------------------------------------------

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
        data: bytes = self._ask(key, lambda: self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        return data

    def open(self, key: str) -> BinaryIO:
        found = self.stat(key)
        if found is None:
            raise NotFoundError(f"there is no object {self.uri(key)}")
        return io.BufferedReader(ObjectReader(self, key, found), READ_SIZE)

    def read_range(self, key: str, first: int, length: int, version: str) -> bytes:
        """Bytes [first, first + length) of an object, if it is still the opened `version`."""

        def ask() -> bytes:
            answer = self.client.get_object(Bucket=self.bucket, Key=key, Range=f"bytes={first}-{first + length - 1}")
            if answer["ETag"] != version:
                raise TemporaryFailureError(f"{self.uri(key)} was replaced while it was being read; read it again")
            data: bytes = answer["Body"].read()
            if len(data) != length:
                raise ServiceUnavailableError(
                    f"{self.uri(key)}: the storage sent {len(data)} bytes of {length}; try again later"
                )
            return data

        return self._ask(key, ask)

    def list(self, key: str, recursive: bool) -> Iterator[Listed]:
        prefix = _folder(key)
        for page in self._pages(prefix, "" if recursive else "/"):
            for item in page.get("Contents", ()):
                relative = item["Key"][len(prefix) :]
                if relative and not relative.endswith("/"):  # a console's empty folder
                    yield Listed(relative, item["Size"], item["LastModified"].timestamp(), item["ETag"])

    def folders(self, key: str) -> Iterator[str]:
        prefix = _folder(key)
        for page in self._pages(prefix, "/"):
            for item in page.get("CommonPrefixes", ()):
                yield item["Prefix"][len(prefix) :].rstrip("/")

    def download(self, key: str, path: Path, seen: Seen | None = None) -> None:
        from groot_ray.storage.local import place_file

        place_file(path, lambda partial: self._fetch(key, partial, seen), create_only=False)

    def _fetch(self, key: str, path: Path, seen: Seen | None) -> None:
        """Stream an object to a file, resuming after a broken connection."""
        found = self.stat(key)
        if found is None:
            raise NotFoundError(f"there is no object {self.uri(key)}")
        with path.open("wb") as stream:
            while stream.tell() < found.size:
                block = self.read_range(key, stream.tell(), min(8 * MIB, found.size - stream.tell()), found.version)
                stream.write(block)
                if seen is not None:
                    seen(block)

    def _pages(self, prefix: str, delimiter: str) -> Iterator[dict[str, Any]]:
        token: str | None = None
        while True:
            more = {"ContinuationToken": token} if token else {}

            def ask(more: dict[str, str] = more) -> Any:
                return self.client.list_objects_v2(
                    Bucket=self.bucket, Prefix=prefix, Delimiter=delimiter, MaxKeys=PAGE_SIZE, **more
                )

            page: dict[str, Any] = self._ask(prefix, ask)
            yield page
            token = page.get("NextContinuationToken")
            if not token:
                return

    def _head(self, key: str) -> dict[str, Any] | None:
        try:
            answer: dict[str, Any] = self._ask(key, lambda: self.client.head_object(Bucket=self.bucket, Key=key))
        except NotFoundError:
            return None
        return answer

    # --- writing ----------------------------------------------------------------------------------------------

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
        """A multipart upload of one small part, to check whether the credentials allow it."""
        import tempfile

        with tempfile.NamedTemporaryFile(prefix="groot-ray-") as stream:
            stream.write(data)
            stream.flush()
            self._upload_parts(key, Path(stream.name), create_only=False)

    def _upload_parts(self, key: str, path: Path, create_only: bool) -> bool:
        """Multipart upload, aborted on any failure: parts left behind are invisible but billed."""
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
            log.debug("upload of %s could not be aborted: %s", self.uri(upload["Key"]), error)

    def _create(self, key: str, put: Callable[[dict[str, str]], Any]) -> bool:
        """Call `put` with a writer's ID as metadata; returns whether the object that exists afterwards is ours."""
        from botocore.exceptions import ClientError

        writer = {WRITER: uuid.uuid4().hex}

        def ask() -> bool:
            try:
                put(writer)
                return True
            except ClientError as error:
                if not (is_taken(error) or is_used_up(error)):
                    raise
                if self._writer(key) == writer[WRITER]:
                    return True
                if is_used_up(error):
                    raise
                return False

        return self._ask(key, lambda: while_undecided()(ask))

    def _writer(self, key: str) -> str | None:
        """ID of the writer that created an object, or None."""
        found = self._head(key)
        return None if found is None else found.get("Metadata", {}).get(WRITER)

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
        # One request per object: services disagree on the checksum of DeleteObjects.
        keys = [_folder(key) + found.relative for found in self.list(key, True)]
        with ThreadPoolExecutor(8, "delete") as threads:
            list(threads.map(self.delete, keys))

    def unfinished_uploads(self, key: str) -> Iterator[tuple[str, str, float]]:
        """Unfinished multipart uploads below a folder: key, upload id, start time in Unix seconds."""
        marks: dict[str, str] = {}
        while True:

            def ask(marks: dict[str, str] = marks) -> Any:
                return self.client.list_multipart_uploads(Bucket=self.bucket, Prefix=_folder(key), **marks)

            page = self._ask(key, ask)
            for item in page.get("Uploads", ()):
                yield item["Key"], item["UploadId"], item["Initiated"].timestamp()
            if not page.get("IsTruncated"):
                return
            marks = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Abort an unfinished multipart upload."""
        self._abort({"Bucket": self.bucket, "Key": key, "UploadId": upload_id})

    # --- asking -----------------------------------------------------------------------------------------------

    def _ask(self, key: str, request: Callable[[], T]) -> T:
        """Make a request; while the service does not answer, retry it for `patience()` (or `check_patience()`)."""

        def ask() -> T:
            with explained(self.uri(key)):
                return request()

        return while_unavailable(patience() if self.patient else check_patience())(ask)


def _folder(key: str) -> str:
    """Prefix of the keys in a folder; empty for the bucket itself."""
    return f"{key.rstrip('/')}/" if key.strip("/") else ""
