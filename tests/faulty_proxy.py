"""A proxy over real HTTP in front of an S3 server that fails chosen requests, as networks and services do.

It forwards every request unchanged, so signatures stay valid, and counts them from 1 in the order in which they arrive.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from urllib.parse import urlsplit

DELAY = 0.3  # seconds
FAILURES = {
    "connection reset": "the connection is reset before the request is read",
    "request cut": "the server gets half of the request",
    "lost response": "the request is executed and the connection closed before the response",
    "response cut": "the request is executed and half of the response arrives",
    "500": "the request is not executed and answered with InternalError",
    "503": "the request is not executed and answered with SlowDown",
    "500 after": "the request is executed and answered with InternalError",
    "delay": f"the request is forwarded after {DELAY} s",
}


@dataclass
class FaultyProxy:
    """State of a proxy: `failure` hits the request number `at`, and all later ones too if `onwards`.

    `shift`: seconds added to every Last-Modified header, as by a storage whose clock was ahead at the time of writing.
    """

    upstream: str
    url: str = ""
    at: int = 0
    failure: str = ""
    onwards: bool = False
    shift: float = 0.0
    requests: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def reset(self, at: int = 0, failure: str = "", onwards: bool = False) -> None:
        """Count from 1 again, with another failure."""
        assert not failure or failure in FAILURES
        self.at, self.failure, self.onwards = at, failure, onwards
        self.requests, self.failed = [], []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Pass one request and its response on; returns whether the connection goes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        failure = self._count(head.split(b"\r\n", 1)[0].decode())
        if failure == "connection reset":
            writer.transport.abort()
            return False
        if header(head, "expect"):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = without(head, "expect")
        body = await reader.readexactly(int(header(head, "content-length") or 0))
        if failure == "request cut":
            await self._send_half(head + body if not body else head + body[: len(body) // 2], whole=bool(body))
            return False
        if failure in ("500", "503"):
            writer.write(refusal(failure, head))
            return True
        if failure == "delay":
            await asyncio.sleep(DELAY)
        response = await self._forward(head, body)
        if failure == "lost response":
            return False
        if failure == "500 after":
            response = refusal("500", head)
        if failure == "response cut":
            end = response.index(b"\r\n\r\n") + 4
            writer.write(response[: (end + len(response)) // 2 if len(response) > end else end // 2])
            return False
        writer.write(self._shifted(response))
        return header(response, "connection").lower() != "close"

    def _count(self, line: str) -> str:
        self.requests.append(line)
        number = len(self.requests)
        hit = number == self.at or (self.onwards and number > self.at > 0)
        if hit:
            self.failed.append(line)
        return self.failure if hit else ""

    async def _forward(self, head: bytes, body: bytes) -> bytes:
        """The server's response, complete, by a connection of its own."""
        reader, writer = await self._connect()
        try:
            writer.write(head + body)
            response = await reader.readuntil(b"\r\n\r\n")
            status = int(response.split(b" ", 2)[1])
            if head.startswith(b"HEAD ") or status in (204, 304):
                return response
            if header(response, "transfer-encoding").lower() == "chunked":
                while not response.endswith(b"\r\n0\r\n\r\n"):
                    response += await reader.readuntil(b"\r\n")
                return response
            length = header(response, "content-length")
            return response + (await reader.readexactly(int(length)) if length else await reader.read())
        finally:
            writer.close()

    async def _send_half(self, data: bytes, whole: bool) -> None:
        _, writer = await self._connect()
        writer.write(data if whole else data[: len(data) // 2])
        await writer.drain()
        writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        address = urlsplit(self.upstream)
        return await asyncio.open_connection(address.hostname, address.port, limit=1 << 24)

    def _shifted(self, response: bytes) -> bytes:
        stamp = header(response, "last-modified")
        if not self.shift or not stamp:
            return response
        moved = formatdate(parsedate_to_datetime(stamp).timestamp() + self.shift, usegmt=True)
        return response.replace(stamp.encode(), moved.encode(), 1)


def header(head: bytes, name: str) -> str:
    """Value of a header of a request or response; empty without one."""
    for line in head.split(b"\r\n\r\n", 1)[0].split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name.encode():
            return value.strip().decode()
    return ""


def without(head: bytes, name: str) -> bytes:
    """The head of a request without one of its headers."""
    return b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(name.encode() + b":"))


def refusal(failure: str, head: bytes) -> bytes:
    """The answer of a service that cannot serve a request now."""
    status, code = {"500": ("500 Internal Server Error", "InternalError"), "503": ("503 Slow Down", "SlowDown")}[
        failure
    ]
    body = f"<Error><Code>{code}</Code><Message>later</Message></Error>".encode()
    start = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return start if head.startswith(b"HEAD ") else start + body


@contextmanager
def faulty_proxies(upstream: str, count: int = 1) -> Iterator[list[FaultyProxy]]:
    """Proxies in front of `upstream`, each on its own port, while the block runs."""
    proxies = [FaultyProxy(upstream) for _ in range(count)]
    loop = asyncio.new_event_loop()

    async def start() -> list[asyncio.Server]:
        servers = [await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=1 << 24) for proxy in proxies]
        for proxy, server in zip(proxies, servers, strict=True):
            proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return servers

    async def stop(servers: list[asyncio.Server]) -> None:
        for server in servers:
            server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            await asyncio.wait([task])

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        servers = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        yield proxies
        asyncio.run_coroutine_threadsafe(stop(servers), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
