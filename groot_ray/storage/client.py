"""The S3 client, one per process and endpoint, for AWS and for compatible services.

Credentials, profile, region and endpoint come from the standard AWS environment variables and files.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from groot_ray.storage.failures import explained

_clients: dict[tuple[Any, ...], Any] = {}
_lock = threading.Lock()


def effective_endpoint(endpoint: str | None) -> str | None:
    """The endpoint to use: the environment's, else the experiment's, else None (the profile's, or AWS)."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or endpoint or None


def s3_client(endpoint: str | None, region: str | None, patient: bool = True) -> Any:
    """This process's boto3 client for an endpoint; thread-safe.

    A `patient` client retries failed requests with exponential backoff; others fail within seconds, for checks.

    Raises:
        ConfigurationError: the profile does not exist, the endpoint is not a URL, or the AWS configuration file is
            broken.
    """
    # New credentials in the environment need a new client.
    surroundings = tuple(sorted((key, value) for key, value in os.environ.items() if key.startswith("AWS_")))
    name = (os.getpid(), effective_endpoint(endpoint), region, patient, surroundings)
    with _lock:
        if name not in _clients:
            with explained(effective_endpoint(endpoint) or "S3"):
                _clients[name] = _make_client(effective_endpoint(endpoint), region, patient)
        return _clients[name]


def has_credentials() -> bool:
    """Whether this process finds credentials for object storage; does not test them.

    Raises:
        ConfigurationError: the profile does not exist, or its credentials could not be fetched.
    """
    import boto3

    with explained("S3"):
        return boto3.Session().get_credentials() is not None


def _make_client(endpoint: str | None, region: str | None, patient: bool) -> Any:
    import boto3
    from botocore.config import Config

    session = boto3.Session()
    region = (
        os.environ.get("AWS_REGION")
        or os.environ.get("AWS_DEFAULT_REGION")
        or region
        or session.region_name
        or "us-east-1"
    )
    config = Config(
        connect_timeout=5 if patient else 3,
        read_timeout=60 if patient else 10,
        retries={"mode": "standard", "total_max_attempts": 5 if patient else 2},
        max_pool_connections=32,
        tcp_keepalive=True,
    )
    client = session.client("s3", endpoint_url=endpoint, region_name=region, config=config)
    if _is_aws(client.meta.endpoint_url):
        return client
    settings = session._session.get_scoped_config().get("s3") or {}
    style = settings.get("addressing_style") if isinstance(settings, dict) else None
    custom: dict[str, Any] = {"s3": {"addressing_style": style or "path"}}
    # Older services reject the trailing checksums that boto3 sends by default.
    for option in ("request_checksum_calculation", "response_checksum_validation"):
        if f"AWS_{option.upper()}" not in os.environ:
            custom[option] = "when_required"
    return session.client("s3", endpoint_url=endpoint, region_name=region, config=config.merge(Config(**custom)))


def _is_aws(url: str) -> bool:
    from urllib.parse import urlsplit

    host = urlsplit(url).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws"))
