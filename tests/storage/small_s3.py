"""A small S3 service over real HTTP that can misbehave on request, like services that only resemble S3.

It knows put, get (with ranges), head, delete, listing and multipart uploads, checks no signature, and speaks in S3's
XML.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from http_server import QuietHandler, serving


@dataclass
class Service:
    """State of the service, and how it misbehaves.

    `ignores_conditions`: If-None-Match has no effect. `loses_answers`: that many puts are stored, and their connection
    then breaks. `conflicts`: that many create-only puts are answered with 409. `down`: that many requests are answered
    with
    503. `refuses_trailers`: bodies with checksums in trailers are rejected, as by older services.
    """

    url: str = ""
    objects: dict[str, tuple[bytes, dict[str, str]]] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    ignores_conditions: bool = False
    refuses_trailers: bool = True
    loses_answers: int = 0
    conflicts: int = 0
    down: int = 0
    denied: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, name: str) -> bool:
        """Use up one of the counted misbehaviors."""
        with self.lock:
            left = getattr(self, name)
            setattr(self, name, max(left - 1, 0))
            return left > 0


@contextmanager
def small_s3(service: Service) -> Iterator[Service]:
    """Run the service on its own port while the block runs."""

    class Handler(QuietHandler):
        def handle_request(self) -> None:
            parts = urlsplit(self.path)
            self.query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
            self.key = unquote(parts.path).lstrip("/")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            service.requests.append(f"{self.command} {self.key}")
            if service.take("down"):
                self.answer(503, error="ServiceUnavailable")
            elif service.denied == self.command:
                self.answer(403, error="AccessDenied")
            elif service.refuses_trailers and self.headers.get("x-amz-trailer"):
                self.answer(400, error="InvalidRequest")
            else:
                getattr(self, f"on_{self.command.lower()}")(body)

        do_PUT = do_GET = do_HEAD = do_DELETE = do_POST = handle_request

        def on_put(self, body: bytes) -> None:
            if "uploadId" in self.query:
                service.uploads[self.query["uploadId"]][int(self.query["partNumber"])] = body
                self.answer(200, {"ETag": etag(body)})
            else:
                self.store(body, self.metadata())

        def metadata(self) -> dict[str, str]:
            return {key: value for key, value in self.headers.items() if key.lower().startswith("x-amz-meta-")}

        def store(self, body: bytes, metadata: dict[str, str]) -> None:
            if self.headers.get("If-None-Match") == "*" and not service.ignores_conditions:
                if service.take("conflicts"):
                    return self.answer(409, error="ConditionalRequestConflict")
                if self.key in service.objects:
                    return self.answer(412, error="PreconditionFailed")
            service.objects[self.key] = (body, metadata)
            if service.take("loses_answers"):
                self.close_connection = True
                self.connection.close()
                return None
            done = f"<CompleteMultipartUploadResult><ETag>{escape(etag(body))}</ETag></CompleteMultipartUploadResult>"
            return self.answer(200, {"ETag": etag(body)}, done.encode() if self.command == "POST" else b"")

        def on_post(self, body: bytes) -> None:
            if "uploads" in self.query:
                identity = f"upload-{len(service.metadata)}"
                service.uploads[identity] = {}
                service.metadata[identity] = self.metadata()
                xml = f"<InitiateMultipartUploadResult><UploadId>{identity}</UploadId></InitiateMultipartUploadResult>"
                return self.answer(200, {}, xml.encode())
            parts = service.uploads.pop(self.query["uploadId"], None)
            if parts is None:
                return self.answer(404, error="NoSuchUpload")
            return self.store(
                b"".join(parts[number] for number in sorted(parts)), service.metadata[self.query["uploadId"]]
            )

        def on_get(self, _: bytes) -> None:
            if "list-type" in self.query:
                bucket, _, _ = self.key.partition("/")
                prefix = f"{bucket}/{self.query.get('prefix', '')}"
                found = sorted(key for key in service.objects if key.startswith(prefix))
                rows = "".join(
                    f"<Contents><Key>{escape(key[len(bucket) + 1 :])}</Key><Size>{len(service.objects[key][0])}</Size>"
                    f"<ETag>x</ETag><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
                    for key in found
                )
                return self.answer(
                    200, {}, f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()
                )
            if self.key not in service.objects:
                return self.answer(404, error="NoSuchKey")
            body, metadata = service.objects[self.key]
            headers = {**metadata, "ETag": etag(body), "Last-Modified": formatdate(usegmt=True)}
            asked = self.headers.get("Range")
            if asked is None:
                return self.answer(200, headers, body)
            first, last = (int(part) for part in asked.removeprefix("bytes=").split("-"))
            return self.answer(206, headers, body[first : last + 1])

        on_head = on_get

        def on_delete(self, _: bytes) -> None:
            service.uploads.pop(self.query.get("uploadId", ""), None)
            if "uploadId" not in self.query:
                service.objects.pop(self.key, None)
            self.answer(204)

        def answer(
            self, status: int, headers: dict[str, str] | None = None, body: bytes = b"", error: str = ""
        ) -> None:
            if error:
                body = f"<Error><Code>{error}</Code><Message>{error}</Message></Error>".encode()
            self.send(status, headers or {}, body)

    with serving(Handler) as service.url:
        yield service


def etag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'
