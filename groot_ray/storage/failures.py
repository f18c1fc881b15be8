"""Translates botocore errors to this package's: wrong configuration, missing object, or unavailable service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from groot_ray.errors import ConfigurationError, GrootRayError, ServiceUnavailableError
from groot_ray.storage.store import NotFoundError

CREDENTIALS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose a profile with AWS_PROFILE, or give the pod a role"
)

# The request was damaged or interrupted on its way, or another one is in progress: the same request can succeed.
INTERRUPTED = (
    "SlowDown",
    "RequestTimeout",
    "ServiceUnavailable",
    "InternalError",
    "Throttling",
    "IncompleteBody",
    "BadDigest",
    "XAmzContentSHA256Mismatch",
    "ConditionalRequestConflict",
    "OperationAborted",
)


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Context manager that translates botocore errors about `where`, a URI, to this package's."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        raise translate_answer(error, where) from None
    except BotoCoreError as error:
        raise translate_failure(error, where) from None
    except ResponseParserError:
        raise ServiceUnavailableError(
            f"{where}: the storage's answer is cut off or is not S3's; try again later, or correct the endpoint "
            "(AWS_ENDPOINT_URL_S3 or storage.endpoint)"
        ) from None
    except ValueError as error:
        if "endpoint" in str(error).lower():
            raise ConfigurationError(
                f"{where} is not a valid S3 endpoint; write http://host:port or https://host"
            ) from None
        raise


def translate_answer(error: Any, where: str) -> GrootRayError:
    """Translate an error response of the service (botocore's ClientError)."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) or 0)
    operation = error.operation_name
    said = str(error.response.get("Error", {}).get("Message", "") or code).rstrip(".")
    bucket = where.removeprefix("s3://").split("/")[0]
    if code == "NoSuchBucket":
        return ConfigurationError(
            f"{where}: there is no bucket {bucket!r} here; create it, or correct the URI or the endpoint"
        )
    if code in ("NoSuchKey", "NoSuchUpload", "404", "NotFound"):
        return NotFoundError(f"there is no object {where}")
    if code in (
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "InvalidToken",
        "UnrecognizedClientException",
        "AuthorizationHeaderMalformed",
    ):
        if code == "AuthorizationHeaderMalformed" and "region" in said:
            return ConfigurationError(f"{where}: the region is wrong ({said}); set AWS_REGION")
        what = "the access key is not known" if code == "InvalidAccessKeyId" else "the secret key is wrong"
        if code in ("InvalidToken", "UnrecognizedClientException"):
            what = "the session token is not valid"
        return ConfigurationError(f"{where}: {what}; {CREDENTIALS}")
    if code in ("ExpiredToken", "ExpiredTokenException", "RequestExpired"):
        return ConfigurationError(f"{where}: the credentials have expired; renew them")
    if code == "RequestTimeTooSkewed":
        return ConfigurationError(f"{where}: this machine's clock differs too much from the service's; set the clock")
    if code in ("PermanentRedirect", "IllegalLocationConstraintException", "301"):
        return ConfigurationError(f"{where}: the bucket is in another region; set AWS_REGION to it")
    if code in ("XMinioStorageFull", "InsufficientStorage", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "507"):
        return ConfigurationError(f"{where}: the storage is full; free up space or raise the quota")
    if code in ("AccessDenied", "403", "AllAccessDisabled", "AccountProblem") or status == 403:
        return ConfigurationError(
            f"{where}: access is denied ({operation}); the credentials lack the permission, or the secret key is wrong"
        )
    if code in ("InvalidBucketName", "KeyTooLongError"):
        return ConfigurationError(f"{where}: the service rejects the name ({said})")
    if status >= 500 or status in (408, 429) or code in INTERRUPTED:
        return ServiceUnavailableError(
            f"{where}: the storage answered {code or status} to {operation}; try again later"
        )
    if code == "NotImplemented" or status in (405, 501):
        return ConfigurationError(
            f"{where}: the service does not support {operation}; use one that is compatible with S3"
        )
    return ConfigurationError(f"{where}: the storage refused {operation} ({code or status}: {said})")


def translate_failure(error: Any, where: str) -> GrootRayError:
    """Translate the error of a request that got no response (botocore's BotoCoreError)."""
    from botocore import exceptions as known

    if isinstance(error, known.ProfileNotFound):
        return ConfigurationError(
            f"the AWS profile {error.kwargs.get('profile')!r} does not exist; correct AWS_PROFILE"
        )
    if isinstance(error, known.NoCredentialsError | known.PartialCredentialsError | known.TokenRetrievalError):
        return ConfigurationError(f"{where}: credentials for object storage are missing or incomplete; {CREDENTIALS}")
    if isinstance(error, known.CredentialRetrievalError | known.UnauthorizedSSOTokenError | known.SSOTokenLoadError):
        return ConfigurationError(
            f"{where}: the credentials could not be fetched ({_brief(error)}); log in again or correct the profile"
        )
    if isinstance(error, known.SSLError) and "EOF" not in str(error):  # a handshake that broke off can succeed later
        return ConfigurationError(
            f"{where}: the endpoint's certificate is not trusted, or it does not speak TLS; "
            "set AWS_CA_BUNDLE to your CA, or use http://"
        )
    if isinstance(error, known.ProxyConnectionError):
        return ServiceUnavailableError(f"{where}: the proxy does not answer; check HTTPS_PROXY and NO_PROXY")
    if isinstance(
        error, known.ParamValidationError | known.ConfigParseError | known.ConfigNotFound | known.InvalidConfigError
    ):
        return ConfigurationError(f"{where}: {_brief(error)}")
    endpoint = error.kwargs.get("endpoint_url", "")
    at = f" at {_host(endpoint)}" if endpoint else ""
    return ServiceUnavailableError(
        f"{where}: the storage{at} does not answer ({type(error).__name__}); check that it runs, and the endpoint "
        "(AWS_ENDPOINT_URL_S3 or storage.endpoint)"
    )


def _brief(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _host(url: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
