"""A small client of the Kubernetes API: paths in, plain data out.

It sends requests through a `Transport` (see `access`). The `kubernetes` library only reads kubeconfig files, on a
laptop: importing it would take a waiting Job beyond 80 MB.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from groot_ray.errors import ConfigurationError, GrootRayError, ServiceUnavailableError

Transport = Callable[[str, str, bytes | None, str], tuple[int, bytes]]


class ApiError(GrootRayError):
    """The API server refused a request; `status` is its HTTP code."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class RefusedObjectError(ConfigurationError):
    """The API server finds an object invalid: a mistake in the values, so a retry is pointless."""


class ForbiddenError(ConfigurationError):
    """This account has no right to do this."""


class _BusyError(OSError):
    """The API server is overloaded or failing; another try may succeed."""


class Kubernetes:
    """Requests to one API server."""

    def __init__(self, transport: Transport, namespace: str, tries: int = 4) -> None:
        self.transport = transport
        self.namespace = namespace
        self.tries = tries

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Read an object or a list; `query` has labelSelector and the like."""
        return self.request("GET", path + ("?" + urlencode(query) if query else ""))

    def find(self, path: str) -> dict[str, Any] | None:
        """Read an object, or None if it does not exist."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        """The objects of a list."""
        return list(self.get(path, **query).get("items") or [])

    def create(self, path: str, body: dict[str, Any]) -> bool:
        """Create an object; False if one of that name exists.

        Raises:
            RefusedObjectError: it has unknown or invalid fields.
        """
        try:
            self.request("POST", f"{path}?fieldValidation=Strict", body)
        except ApiError as error:
            if error.status == 409:
                return False
            if error.status in (400, 422):
                name = f"{path.rpartition('/')[2]}/{body['metadata']['name']}"
                raise RefusedObjectError(f"Kubernetes refuses {name}: {error}") from None
            raise
        return True

    def delete(self, path: str, policy: str = "Background") -> None:
        """Delete an object, if it exists."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy}
        try:
            self.request("DELETE", path, body)
        except ApiError as error:
            if error.status != 404:
                raise

    def patch(self, path: str, body: dict[str, Any]) -> None:
        """Merge `body` into an object."""
        self.request("PATCH", path, body, "application/merge-patch+json")

    def request(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json"
    ) -> dict[str, Any]:
        """Send a request, with retries while the server is away or busy.

        Raises:
            ApiError: the server refused it (404, 409, 422 ...).
            ForbiddenError: this account has no right to do it.
            ConfigurationError: the server does not accept the account's credentials.
            ServiceUnavailableError: no answer after several tries.
        """
        data = None if body is None else json.dumps(body).encode()
        tries = Retrying(
            retry=retry_if_exception_type(OSError),
            stop=stop_after_attempt(self.tries),
            wait=wait_exponential(multiplier=2, max=10),
            reraise=True,
        )
        try:
            return tries(self._send, method, path, data, content_type)
        except OSError as error:
            where = f"{method} {path.split('?')[0]}"
            raise ServiceUnavailableError(f"the Kubernetes API does not answer {where}: {error}") from None

    def _send(self, method: str, path: str, data: bytes | None, content_type: str) -> dict[str, Any]:
        status, answer = self.transport(method, path, data, content_type)
        if status < 300:
            return dict(json.loads(answer or b"{}"))
        message = _message(answer)
        if status in (401, 403):
            kind = ForbiddenError if status == 403 else ConfigurationError
            raise kind(f"Kubernetes refuses {method} {path.split('?')[0]}: {message}")
        if status == 429 or status >= 500:
            raise _BusyError(message)
        raise ApiError(status, message)


def _message(answer: bytes) -> str:
    try:
        return str(json.loads(answer).get("message", ""))
    except (ValueError, AttributeError):
        return answer[:200].decode(errors="replace")
