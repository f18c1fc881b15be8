"""A Kubernetes API server in memory: objects can be created, read, listed and deleted, and tests change them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from groot_ray.cluster.kube.api import Kubernetes


@dataclass
class ApiServer:
    """Objects by path, and logs of pods by name.

    `admit` sees every object that is created, as an admission webhook does.
    """

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    admit: Callable[[dict[str, Any]], object] = lambda item: None

    def client(self, namespace: str = "robots") -> Kubernetes:
        """A client of this server."""
        return Kubernetes(self.answer, namespace)

    def answer(self, method: str, path: str, data: bytes | None, content_type: str) -> tuple[int, bytes]:
        """Answer one request."""
        path, _, query = path.partition("?")
        if path.endswith("/log"):
            return 200, self.log(path.split("/")[-2], dict(parse_qsl(query))).encode()
        if method == "POST":
            item = json.loads(data or b"{}")
            name = f"{path}/{item['metadata']['name']}"
            if name in self.objects:
                return 409, b"{}"
            self.admit(item)
            self.objects[name] = item
            return 201, json.dumps(item).encode()
        if method == "DELETE":
            return (200, b"{}") if self.objects.pop(path, None) is not None else (404, b"{}")
        if path in self.objects:
            return 200, json.dumps(self.objects[path]).encode()
        if path.rsplit("/", 1)[-1].endswith("s"):
            found = [item for name, item in list(self.objects.items()) if name.rpartition("/")[0] == path]
            return 200, json.dumps({"items": found}).encode()
        return 404, json.dumps({"message": f"{path} not found"}).encode()

    def log(self, pod: str, query: dict[str, str]) -> str:
        """A pod's log, or its beginning or end if the query asks for it."""
        text = self.logs.get(pod, "")
        if "tailLines" in query:
            return "".join(text.splitlines(keepends=True)[-int(query["tailLines"]) :])
        return text[: int(query.get("limitBytes", len(text)))]
