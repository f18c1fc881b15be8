"""Files from the Hugging Face hub, with its failures told in one sentence; HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE are honored."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from groot_ray.errors import ConfigurationError, GrootRayError, ServiceUnavailableError

_DEFAULT_ENDPOINT = "https://huggingface.co"


def fetch_files(
    repository: str,
    patterns: Sequence[str],
    *,
    revision: str | None = None,
    cache: Path | None = None,
    folder: Path | None = None,
    what: str = "it",
) -> Path:
    """Download the files of a model repository that match `patterns`; returns the folder that holds them.

    Args:
        repository: ``organization/name``.
        revision: branch, tag or commit; the default branch when not given.
        cache: the hub library's cache folder; its own default when not given. Files that are there are not fetched again.
        folder: write the files here instead of into the cache.
        what: what is being fetched, for errors, such as "the tokenizer".

    Raises:
        ConfigurationError: the name is wrong, the repository or revision does not exist, is private or gated.
        ServiceUnavailableError: the hub does not answer, or is switched off by HF_HUB_OFFLINE.
    """
    from huggingface_hub import snapshot_download

    endpoint = os.environ.get("HF_ENDPOINT") or _DEFAULT_ENDPOINT
    with _progress_bars_on_terminals_only():
        try:
            found = snapshot_download(
                repository,
                revision=revision,
                cache_dir=cache,
                local_dir=folder,
                allow_patterns=list(patterns),
                endpoint=endpoint,
            )
        except Exception as error:
            raise _explained(error, repository, revision, endpoint, what) from error
    return Path(found)


@contextmanager
def _progress_bars_on_terminals_only() -> Iterator[None]:
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    silence = not sys.stderr.isatty() and not are_progress_bars_disabled()
    if silence:
        disable_progress_bars()
    try:
        yield
    finally:
        if silence:
            enable_progress_bars()


def _explained(error: Exception, repository: str, revision: str | None, endpoint: str, what: str) -> GrootRayError:
    """The error for people behind one of the hub library's."""
    from huggingface_hub import errors

    asked = f"{what} from {repository} at {endpoint}"
    page = f"{endpoint}/{repository}"
    token = "HF_TOKEN is set" if os.environ.get("HF_TOKEN") else "HF_TOKEN is not set"
    elsewhere = "run `groot-ray model fetch --to s3://...` on a machine that reaches it and name that URI"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.HFValidationError):
        return ConfigurationError(
            f"cannot fetch {what}: {repository!r} is neither a folder that exists nor the name of a hub repository (organization/name)"
        )
    if isinstance(error, errors.GatedRepoError):
        return ConfigurationError(
            f"cannot fetch {asked}: the repository is gated; accept its terms at {page} and set HF_TOKEN to a token of that account ({token})"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return ConfigurationError(f"cannot fetch {asked}: it has no revision {revision!r}; see {page}/tree/main")
    if isinstance(error, errors.RepositoryNotFoundError) or status in (401, 403):
        return ConfigurationError(
            f"cannot fetch {asked}: there is no such repository, or it is private; check the name, or set HF_TOKEN to a token that may read it ({token})"
        )
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE") or isinstance(
        error, errors.OfflineModeIsEnabled
    ):
        return ServiceUnavailableError(
            f"cannot fetch {asked}: HF_HUB_OFFLINE is set and it is not in the cache; unset it, or {elsewhere}"
        )
    if isinstance(error, OSError) and error.errno == 28:
        return ConfigurationError(
            f"cannot fetch {asked}: no space left on the disk; set HF_HOME or storage.cache to a folder with more"
        )
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if (
        isinstance(error, (errors.LocalEntryNotFoundError, ConnectionError))
        or status is not None
        or isinstance(error, OSError)
    ):
        return ServiceUnavailableError(
            f"cannot fetch {asked}: the hub does not answer ({reason}); try again, or {elsewhere}"
        )
    return ServiceUnavailableError(f"cannot fetch {asked}: {reason}")
