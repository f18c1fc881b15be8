"""A model hub on this machine that speaks as much of the Hugging Face hub's HTTP interface as downloading needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from http_server import QuietHandler, serving

COMMIT = "c" * 40


class SmallHub:
    """Serves folders as repositories.

    `gated` repositories answer 403 unless the request brings `token`; `broken` answers 503 to everything.
    """

    def __init__(self, repositories: dict[str, Path]) -> None:
        self.repositories = repositories
        self.gated: set[str] = set()
        self.token = "hf_right"
        self.broken = False
        self.requests: list[str] = []
        self.url = ""

    def answer(self, path: str, token: str | None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a request path."""
        if self.broken:
            return 503, {}, b"down"
        parts = unquote(urlsplit(path).path).strip("/").split("/")
        is_api = parts[:2] == ["api", "models"]
        if is_api:
            parts = parts[2:]
        name, rest = "/".join(parts[:2]), parts[2:]
        if name not in self.repositories:
            return 401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, b"{}"
        if name in self.gated and token != self.token and not is_api:
            return 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": f"Access to model {name} is restricted"}, b"{}"
        revision = rest[1] if len(rest) > 1 else "main"
        if revision not in ("main", COMMIT):
            return 404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev"}, b"{}"
        folder = self.repositories[name]
        if is_api:
            return self._listing(name, folder, rest)
        return self._file(folder / "/".join(rest[2:]))

    def _listing(self, name: str, folder: Path, rest: list[str]) -> tuple[int, dict[str, str], bytes]:
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        if rest[:1] == ["tree"]:
            entries = [
                {"type": "file", "path": p.relative_to(folder).as_posix(), "size": p.stat().st_size, "oid": _hash(p)}
                for p in files
            ]
            return 200, {}, json.dumps(entries).encode()
        siblings = [{"rfilename": p.relative_to(folder).as_posix()} for p in files]
        info = {
            "id": name,
            "sha": COMMIT,
            "siblings": siblings,
            "private": False,
            "gated": name in self.gated,
            "tags": [],
        }
        return 200, {}, json.dumps(info).encode()

    def _file(self, path: Path) -> tuple[int, dict[str, str], bytes]:
        if not path.is_file():
            return 404, {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}, b"{}"
        return 200, {"ETag": f'"{_hash(path)}"', "X-Repo-Commit": COMMIT}, path.read_bytes()


@contextmanager
def serve(hub: SmallHub) -> Iterator[SmallHub]:
    """Run the hub on a free port; `hub.url` is its endpoint."""

    class Handler(QuietHandler):
        def handle_request(self) -> None:
            hub.requests.append(f"{self.command} {self.path}")
            token = (self.headers.get("authorization") or "").removeprefix("Bearer ") or None
            self.send(*hub.answer(self.path, token))

        do_GET = do_HEAD = handle_request

    with serving(Handler) as hub.url:
        yield hub


def _hash(path: Path) -> str:
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # as git names it
