"""When to retry a request to S3: the service does not answer, or the outcome of a create-only put is unknown."""

from __future__ import annotations

import logging
import os

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    retry_if_exception_type,
    stop_after_attempt,
    stop_before_delay,
    wait_exponential,
)

from groot_ray.errors import ServiceUnavailableError

log = logging.getLogger(__name__)

CREATE_ATTEMPTS = 7
CHECK_PATIENCE = 5.0


def patience() -> float:
    """Seconds for which requests are retried while the service does not answer (GROOT_RAY_STORAGE_PATIENCE, 120)."""
    try:
        return float(os.environ.get("GROOT_RAY_STORAGE_PATIENCE", "120"))
    except ValueError:
        return 120.0


def check_patience() -> float:
    """Seconds of patience of the check at the start, so that a wrong endpoint is reported soon."""
    return min(CHECK_PATIENCE, patience())


def while_unavailable(seconds: float) -> Retrying:
    """Retry a request that raises ServiceUnavailableError for `seconds`; 0 means no retry."""
    return Retrying(
        retry=retry_if_exception_type(ServiceUnavailableError),
        stop=stop_before_delay(seconds),
        wait=wait_exponential(multiplier=0.5, max=10.0),
        before_sleep=_warn,
        reraise=True,
    )


def while_undecided() -> Retrying:
    """Retry a create-only put while another put is in progress, or if its multipart upload has to be repeated."""
    return Retrying(
        retry=retry_if_exception(_is_undecided),
        stop=stop_after_attempt(CREATE_ATTEMPTS),
        wait=wait_exponential(multiplier=0.1, max=4.0),
        reraise=True,
    )


def _warn(state: RetryCallState) -> None:
    if state.outcome is not None:
        log.warning("%s; trying again", state.outcome.exception())


def is_taken(error: BaseException) -> bool:
    """Whether a create-only put found an object: ours, if the answer was lost, or another writer's."""
    return _status(error) == 412 or _code(error) == "PreconditionFailed"


def is_used_up(error: BaseException) -> bool:
    """Whether a multipart upload no longer exists: completed by a lost request, or aborted by the service."""
    return _code(error) == "NoSuchUpload"


def _is_undecided(error: BaseException) -> bool:
    """Whether the outcome is unknown: another put is in progress, or the upload has to be repeated."""
    return _status(error) == 409 or is_used_up(error)


def _code(error: BaseException) -> str:
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))


def _status(error: BaseException) -> int | None:
    status = getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status if isinstance(status, int) else None
