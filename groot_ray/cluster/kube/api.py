"""A small client of the Kubernetes API: paths in, plain data out.

Inside a pod it speaks HTTP with the service account's token, so that a waiting Job stays below 80 MB; on a laptop the transport is the
`kubernetes` library, which knows kubeconfig files and their login plugins.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from groot_ray.errors import ConfigurationError, GrootRayError, ServiceUnavailableError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
Transport = Callable[[str, str, bytes | None, str], tuple[int, bytes]]


class ApiError(GrootRayError):
    """The API server refused a request; `status` is its HTTP code."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class RefusedObjectError(ConfigurationError):
    """The API server finds an object invalid: a mistake in the values, which no further try mends."""


class ForbiddenError(ConfigurationError):
    """This account may not do what was asked for."""


class Kubernetes:
    """Requests to one API server."""

    def __init__(self, transport: Transport, namespace: str, tries: int = 4) -> None:
        self.transport = transport
        self.namespace = namespace
        self.tries = tries

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Read an object or a list; `query` holds labelSelector and the like."""
        return self.request("GET", path + ("?" + urlencode(query) if query else ""))

    def find(self, path: str) -> dict[str, Any] | None:
        """Read an object, or None where there is none."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        """The objects of a list."""
        return self.get(path, **query).get("items", [])

    def create(self, path: str, body: dict[str, Any]) -> bool:
        """Create an object; False when one of that name exists. Raises RefusedObjectError for one with unknown or wrong fields."""
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
        """Delete an object; nothing happens where there is none."""
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
        """One request, tried again when the server is away or busy.

        Raises:
            ApiError: the server refused (404, 409, 422 ...).
            ForbiddenError: the account may not do this.
            ConfigurationError: the server does not know the account.
            ServiceUnavailableError: no answer after several tries.
        """
        data = None if body is None else json.dumps(body).encode()
        trouble = ""
        for attempt in range(self.tries):
            if attempt:
                time.sleep(min(2.0**attempt, 10.0))
            try:
                status, answer = self.transport(method, path, data, content_type)
            except OSError as error:
                trouble = str(error)
                continue
            if status < 300:
                return json.loads(answer or b"{}")
            message = _message(answer)
            if status in (401, 403):
                kind = ForbiddenError if status == 403 else ConfigurationError
                raise kind(f"Kubernetes refuses {method} {path.split('?')[0]}: {message}")
            if status == 429 or status >= 500:
                trouble = message
                continue
            raise ApiError(status, message)
        raise ServiceUnavailableError(f"the Kubernetes API does not answer {method} {path.split('?')[0]}: {trouble}")


def _message(answer: bytes) -> str:
    try:
        return str(json.loads(answer).get("message", ""))
    except (ValueError, AttributeError):
        return answer[:200].decode(errors="replace")


def inside_pod() -> Kubernetes:
    """The API server of the cluster that this pod runs in.

    Raises:
        ConfigurationError: this is no pod, or it has no service account.
    """
    import urllib3

    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (ACCOUNT / "token").exists():
        raise ConfigurationError(
            "this process runs in no pod with a service account; `groot-ray job` is for the chart's Jobs"
        )
    pool = urllib3.PoolManager(
        ca_certs=str(ACCOUNT / "ca.crt"), retries=False, timeout=urllib3.Timeout(connect=5, read=30)
    )
    base = f"https://{f'[{host}]' if ':' in host else host}:{port}"

    def send(method: str, path: str, data: bytes | None, content_type: str) -> tuple[int, bytes]:
        token = (ACCOUNT / "token").read_text().strip()  # it is rotated
        headers = {"Authorization": f"Bearer {token}", "Content-Type": content_type, "Accept": "application/json"}
        try:
            answer = pool.request(method, base + path, body=data, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise OSError(str(error)) from None
        return answer.status, answer.data

    return Kubernetes(send, (ACCOUNT / "namespace").read_text().strip())


def from_kubeconfig(context: str | None = None, namespace: str | None = None) -> Kubernetes:
    """The API server of a kubeconfig context (the current one when not given).

    Raises:
        ConfigurationError: there is no kubeconfig, or it has no such context.
    """
    import urllib3
    from kubernetes import client, config
    from kubernetes.config.config_exception import ConfigException

    try:
        contexts, active = config.list_kube_config_contexts()
    except ConfigException as error:
        raise ConfigurationError(f"no usable kubeconfig: {error}; set KUBECONFIG") from None
    names = [item["name"] for item in contexts]
    if context is not None and context not in names:
        raise ConfigurationError(f"the kubeconfig has no context {context!r}; there are {', '.join(names)}")
    chosen = next((item for item in contexts if item["name"] == context), active)
    settings = client.Configuration()
    config.load_kube_config(context=context, client_configuration=settings)
    pool = urllib3.PoolManager(
        ca_certs=settings.ssl_ca_cert,
        cert_reqs="CERT_REQUIRED" if settings.verify_ssl else "CERT_NONE",
        cert_file=settings.cert_file,
        key_file=settings.key_file,
        server_hostname=getattr(settings, "tls_server_name", None),
        retries=False,
        timeout=urllib3.Timeout(connect=5, read=30),
    )

    def send(method: str, path: str, data: bytes | None, content_type: str) -> tuple[int, bytes]:
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        token = settings.get_api_key_with_prefix("authorization") or settings.get_api_key_with_prefix("BearerToken")
        if token:  # fetched anew by the context's login plugin when it is old
            headers["Authorization"] = token
        elif settings.username:
            headers["Authorization"] = settings.get_basic_auth_token() or ""
        try:
            answer = pool.request(method, settings.host + path, body=data, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise OSError(f"{settings.host} does not answer ({type(error).__name__})") from None
        return answer.status, answer.data

    return Kubernetes(send, namespace or (chosen or {}).get("context", {}).get("namespace") or "default", tries=2)
