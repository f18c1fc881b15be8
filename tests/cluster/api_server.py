"""An API server of Kubernetes in memory: what is created can be read, listed and deleted, and tests change it meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from groot_ray.cluster.api import Kubernetes


@dataclass
class ApiServer:
    """Objects by path; a path in `lists` is known though nothing may be there.

    `admit` sees every object that is created, as an admission webhook does. `forbidden` are beginnings of paths that may not be read.
    """

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    forbidden: tuple[str, ...] = ()
    admit: Callable[[dict[str, Any]], object] = lambda item: None

    def client(self, namespace: str = "robots") -> Kubernetes:
        """A client of this server."""
        return Kubernetes(self.answer, namespace)

    def answer(self, method: str, path: str, data: bytes | None, content_type: str) -> tuple[int, bytes]:
        """Answer one request."""
        path = path.split("?")[0]
        if path.startswith(self.forbidden or ("!",)):
            return 403, json.dumps({"message": f"you cannot {method.lower()} {path}"}).encode()
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
