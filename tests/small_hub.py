"""A small Hugging Face hub over real HTTP: repositories with branches and commits, trees, and files by commit.

It can require a token, and it counts requests, so that tests see what is fetched again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from http_server import QuietHandler, serving


@dataclass
class Hub:
    """What the hub holds: commits (path -> bytes) by hash, and branches by name, for each repository."""

    url: str = ""
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, dict[str, str]] = field(default_factory=dict)
    token: str | None = None
    downloads: list[str] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)
    down: bool = False

    def push(self, name: str, folder: Path, branch: str = "main") -> str:
        """Commit a folder's files to a branch; returns the commit."""
        files = {
            str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
        }
        commit = hashlib.sha1(b"".join(name.encode() + data for name, data in files.items())).hexdigest()
        self.commits[commit] = files
        self.branches.setdefault(name, {})[branch] = commit
        return commit


def is_large(path: str) -> bool:
    """Whether the hub keeps a file in its large-file storage, where its sha256 is known."""
    return path.endswith((".mp4", ".parquet"))


def git_blob(data: bytes) -> str:
    """The name that git gives to a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def small_hub(hub: Hub) -> Iterator[Hub]:
    """Run the hub on a port of its own while the block runs."""

    class Handler(QuietHandler):
        def handle_request(self) -> None:
            parts = unquote(urlsplit(self.path).path).strip("/").split("/")
            if hub.down:
                self.answer(503)
            elif hub.token is not None and self.headers.get("Authorization") != f"Bearer {hub.token}":
                self.answer(401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
            elif parts[0] == "api" and parts[1] in ("datasets", "models"):
                self.api("/".join(parts[2:4]), parts[4:])
            elif parts[0] == "datasets" and parts[3] == "resolve":
                self.resolve("/".join(parts[1:3]), parts[4], "/".join(parts[5:]))
            elif parts[2:3] == ["resolve"]:
                self.resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
            else:
                self.answer(404, {"X-Error-Code": "RepoNotFound"})

        do_GET = do_HEAD = handle_request

        def commit_of(self, name: str, revision: str) -> str | None:
            if name not in hub.branches:
                self.answer(404, {"X-Error-Code": "RepoNotFound"})
                return None
            commit = hub.branches[name].get(revision, revision)
            if commit not in hub.commits:
                self.answer(404, {"X-Error-Code": "RevisionNotFound"})
                return None
            return commit

        def api(self, name: str, rest: list[str]) -> None:
            revision = rest[1] if len(rest) > 1 else "main"
            commit = self.commit_of(name, revision)
            if commit is None:
                return
            if rest[:1] == ["tree"]:
                rows = []
                for path, data in hub.commits[commit].items():
                    row = {
                        "type": "file",
                        "path": path,
                        "size": len(data),
                        "oid": git_blob(data),
                    }
                    if is_large(path):
                        row["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 100}
                    rows.append(row)
                self.answer(200, body=json.dumps(rows).encode())
            else:
                self.answer(200, body=json.dumps({"id": name, "sha": commit, "siblings": []}).encode())

        def resolve(self, name: str, revision: str, path: str) -> None:
            commit = self.commit_of(name, revision)
            if commit is None:
                return
            data = hub.commits[commit].get(path)
            if data is None:
                return self.answer(404, {"X-Error-Code": "EntryNotFound"})
            if self.command == "GET":
                hub.downloads.append(path)
            if path in hub.damaged:
                data = bytes(len(data))
            etag = hashlib.sha256(data).hexdigest() if is_large(path) else git_blob(data)
            return self.answer(200, {"ETag": f'"{etag}"', "X-Repo-Commit": commit}, data)

        def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
            self.send(status, {"Content-Type": "application/json", **(headers or {})}, body)

    with serving(Handler) as hub.url:
        yield hub
