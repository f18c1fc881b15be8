"""Where the Kubernetes API is: the cluster of this pod, or a context of a kubeconfig file."""

from __future__ import annotations

import os
from pathlib import Path

import urllib3

from groot_ray.cluster.kube.api import Kubernetes
from groot_ray.errors import ConfigurationError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def inside_pod() -> Kubernetes:
    """The API server of the cluster that this pod runs in.

    Raises:
        ConfigurationError: this process is not in a pod, or the pod has no service account.
    """
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (ACCOUNT / "token").exists():
        raise ConfigurationError(
            "this process is not in a pod with a service account; `groot-ray job` is for the chart's Jobs"
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
    """The API server of a kubeconfig context (default: the current one).

    Raises:
        ConfigurationError: there is no kubeconfig, or it has no such context.
    """
    from kubernetes import client, config
    from kubernetes.config.config_exception import ConfigException

    try:
        contexts, active = config.list_kube_config_contexts()  # type: ignore[no-untyped-call]
    except ConfigException as error:
        raise ConfigurationError(f"no usable kubeconfig: {error}; set KUBECONFIG") from None
    names = [item["name"] for item in contexts]
    if context is not None and context not in names:
        raise ConfigurationError(f"the kubeconfig has no context {context!r}; there are {', '.join(names)}")
    chosen = next((item for item in contexts if item["name"] == context), active)
    settings = client.Configuration()
    config.load_kube_config(context=context, client_configuration=settings)  # type: ignore[no-untyped-call]
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
        if token:  # refreshed by the context's login plugin when it has expired
            headers["Authorization"] = token
        elif settings.username:
            headers["Authorization"] = settings.get_basic_auth_token() or ""
        try:
            answer = pool.request(method, settings.host + path, body=data, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise OSError(f"{settings.host} does not answer ({type(error).__name__})") from None
        return answer.status, answer.data

    return Kubernetes(send, namespace or (chosen or {}).get("context", {}).get("namespace") or "default", tries=2)
