"""The Hugging Face hub: the commit behind a name, the files of a repository, and verified downloads.

HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE work as in huggingface_hub. Every error is one sentence. A wrong name, a
missing token and HF_HUB_OFFLINE are configuration errors (64); a hub that does not answer is worth another attempt
(69).
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from groot_ray.errors import ConfigurationError, DataError, GrootRayError, ServiceUnavailableError

log = logging.getLogger(__name__)

THREADS = 8
Kind = Literal["dataset", "model"]
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_ALWAYS_THERE: dict[Kind, str] = {"dataset": "meta/info.json", "model": "config.json"}


@dataclass(frozen=True)
class HubFile:
    """A file of a repository; `sha256` is known for large files, `git` (the blob's sha1) for small ones."""

    path: str
    size: int
    sha256: str | None
    git: str | None


@dataclass(frozen=True)
class Repository:
    """A dataset or model repository at one commit."""

    name: str
    kind: Kind
    commit: str

    @property
    def uri(self) -> str:
        """`hf://org/name@commit`, for messages."""
        return f"hf://{'datasets/' if self.kind == 'dataset' else ''}{self.name}@{self.commit[:12]}"

    @property
    def request(self) -> Request:
        """A request for files of this commit."""
        return Request(self.name, self.kind, self.commit)


@dataclass(frozen=True)
class Request:
    """A request to the hub, for error messages; `what` is what is fetched, such as "the tokenizer"."""

    name: str
    kind: Kind = "model"
    revision: str | None = None
    what: str = ""

    def __str__(self) -> str:
        return f"cannot fetch {self.what or f'the {self.kind}'} from {self.name} at {endpoint()}"

    @property
    def page(self) -> str:
        """URL of the repository."""
        return f"{endpoint()}/{'datasets/' if self.kind == 'dataset' else ''}{self.name}"

    @property
    def instead(self) -> str:
        """Advice for when the hub cannot be reached."""
        if self.kind == "dataset":
            return "use a copy in a folder or S3"
        return "run `groot-ray model fetch --to s3://...` on a machine that can reach the hub, and use that URI"


class OfflineError(ConfigurationError):
    """HF_HUB_OFFLINE is set, and what is needed is not in the cache."""


def hub_name(text: str) -> str | None:
    """Parse `hf://org/name`, `hf://datasets/org/name` or `org/name` (unless such a folder exists) to `org/name`, or
    None.

    Raises:
        ConfigurationError: the text begins with `hf://` but does not name a repository.
    """
    given = text.removeprefix("hf://")
    if given != text:
        given = given.removeprefix("datasets/").removeprefix("models/").rstrip("/")
        if not re.fullmatch(f"{_NAME}/{_NAME}", given):
            raise ConfigurationError(
                f"{text!r} is not a hub repository; write hf://org/name, and the branch or commit under revision"
            )
        return given
    if re.fullmatch(f"{_NAME}/{_NAME}", text) and not Path(text).exists():
        return text
    return None


def endpoint() -> str:
    """URL of the hub."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def resolve(name: str, kind: Kind, revision: str | None) -> Repository:
    """Ask the hub for the current commit of `revision` (branch, tag or commit; the main branch if None).

    If the hub cannot be reached, its cache on this machine is used, if it has the revision.

    Raises:
        ConfigurationError: there is no such repository or revision, this token may not read it, or
            HF_HUB_OFFLINE is set.
        ServiceUnavailableError: the hub does not answer.
    """
    from huggingface_hub import HfApi

    try:
        with explained(Request(name, kind, revision)):
            info = HfApi(endpoint()).repo_info(name, repo_type=kind, revision=revision)
    except (ServiceUnavailableError, OfflineError) as error:
        commit = cached_commit(name, kind, revision)
        if commit is None:
            raise
        log.warning("%s; continuing with commit %s from the hub's cache on this machine", error, commit[:12])
        return Repository(name, kind, commit)
    return Repository(name, kind, str(info.sha))


def cached_commit(name: str, kind: Kind, revision: str | None) -> str | None:
    """The commit of a repository in the hub library's cache on this machine, or None.

    A cached snapshot need not be complete (models are fetched without optimizer states), so one file stands for
    all.
    """
    from huggingface_hub import errors, try_to_load_from_cache

    try:
        path = try_to_load_from_cache(name, _ALWAYS_THERE[kind], repo_type=kind, revision=revision)
    except errors.HFValidationError:
        return None
    return Path(path).as_posix().rpartition("/snapshots/")[2].partition("/")[0] if isinstance(path, str) else None


def list_files(repository: Repository) -> list[HubFile]:
    """The files of a repository, by path. Errors as for `resolve`."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    with explained(repository.request):
        found = list(
            HfApi(endpoint()).list_repo_tree(
                repository.name, repo_type=repository.kind, revision=repository.commit, recursive=True
            )
        )
    files = [item for item in found if isinstance(item, RepoFile)]
    listed = (HubFile(f.path, f.size, f.lfs.sha256 if f.lfs else None, None if f.lfs else f.blob_id) for f in files)
    return sorted(listed, key=lambda file: file.path)


def download(repository: Repository, file: HubFile, folder: Path) -> Path:
    """Download one file below `folder` and check its size and hash against what the hub announced.

    Raises:
        DataError: the file differs. Other errors as for `resolve`.
    """
    from huggingface_hub import hf_hub_download

    with explained(repository.request), progress_bars(False):
        path = Path(
            hf_hub_download(
                repository.name,
                file.path,
                repo_type=repository.kind,
                revision=repository.commit,
                local_dir=folder,
                endpoint=endpoint(),
            )
        )
    if path.stat().st_size != file.size or not _is_announced(path, file):
        raise DataError(f"{file.path} of {repository.uri} does not match what the hub announced; try again")
    return path


def fetch_files(
    name: str,
    patterns: Sequence[str],
    *,
    revision: str | None = None,
    cache: Path | None = None,
    folder: Path | None = None,
    what: str = "",
) -> Path:
    """Download the files of a model repository that match `patterns`; returns the folder that holds them.

    Args:
        name: ``organization/name``.
        revision: branch, tag or commit; by default the default branch.
        cache: the hub library's cache folder; by default its usual one. Files in it are not fetched again.
        folder: write the files here instead of into the cache.
        what: what is fetched, for errors.

    Raises:
        ConfigurationError: the name is wrong, the repository or revision does not exist, is private or gated, or
            HF_HUB_OFFLINE is set and the files are not in the cache.
        DataError: a file, just fetched or in the cache, differs from what the hub announced.
        ServiceUnavailableError: the hub does not answer.
    """
    from huggingface_hub import snapshot_download

    with explained(Request(name, "model", revision, what)), progress_bars(sys.stderr.isatty()):
        found = Path(
            snapshot_download(
                name,
                revision=revision,
                cache_dir=cache,
                local_dir=folder,
                allow_patterns=list(patterns),
                endpoint=endpoint(),
            )
        )
    _check_fetched(found, patterns, name)
    return found


def _check_fetched(folder: Path, patterns: Sequence[str], name: str) -> None:
    """Compare fetched files with the hashes that the hub announced; the library itself compares only their sizes."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    wanted = [path for path in paths if any(fnmatch(path.relative_to(folder).as_posix(), p) for p in patterns)]

    def is_damaged(path: Path) -> bool:
        etag = _etag(folder, path)
        by_sha256, by_git = etag if len(etag) == 64 else None, etag if len(etag) == 40 else None
        return not _is_announced(path, HubFile(path.name, 0, by_sha256, by_git))

    with ThreadPoolExecutor(THREADS, "hash") as threads:
        for path, damaged in zip(wanted, threads.map(is_damaged, wanted), strict=True):
            if damaged:
                raise DataError(
                    f"{path.resolve()} is damaged: it is not {path.relative_to(folder)} of {name} as the hub announced "
                    "it; delete it, and it is fetched again"
                )


def _etag(folder: Path, path: Path) -> str:
    """The sha256 or git hash by which the hub library keeps a file: the blob's name in its cache, or a line beside a
    folder's files; empty where neither exists.
    """
    if path.is_symlink():
        return path.resolve().name
    notes = folder / ".cache/huggingface/download" / f"{path.relative_to(folder)}.metadata"
    lines = notes.read_text().splitlines() if notes.is_file() else []
    return lines[1].strip() if len(lines) > 1 else ""


@contextmanager
def progress_bars(shown: bool) -> Iterator[None]:
    """Hide the hub library's progress bars while the block runs, unless `shown`."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    hide = not shown and not are_progress_bars_disabled()
    if hide:
        disable_progress_bars()
    try:
        yield
    finally:
        if hide:
            enable_progress_bars()


def _is_announced(path: Path, file: HubFile) -> bool:
    if file.sha256 is not None:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256
    if file.git is not None:
        # Git names a blob by the sha1 of its size and content. This detects corruption, not tampering.
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == file.git
    return True


@contextmanager
def explained(request: Request) -> Iterator[None]:
    """Context manager that translates huggingface_hub's errors to this package's."""
    try:
        yield
    except Exception as error:
        found = _explanation(error, request)
        if found is None:
            raise
        raise found from error


def _explanation(error: Exception, request: Request) -> GrootRayError | None:
    """Translate an error of the hub library; None for an error that is not about the hub."""
    from huggingface_hub import constants, errors

    token = "HF_TOKEN is set" if os.environ.get("HF_TOKEN") else "HF_TOKEN is not set"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.HFValidationError):
        return ConfigurationError(
            f"{request}: {request.name!r} is neither a folder that exists nor the name of a hub repository "
            "(organization/name)"
        )
    if isinstance(error, errors.GatedRepoError):
        return ConfigurationError(
            f"{request}: the repository is gated; accept its terms at {request.page} and set HF_TOKEN to a token of "
            f"that account ({token})"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return ConfigurationError(
            f"{request}: it has no revision {request.revision!r}; see {request.page}/tree/main, or leave it out"
        )
    if isinstance(error, errors.RepositoryNotFoundError) or status in (401, 403):
        return ConfigurationError(
            f"{request}: there is no such repository, or it is private; check the name, or set HF_TOKEN to a token "
            f"that may read it ({token})"
        )
    if isinstance(error, errors.OfflineModeIsEnabled) or (
        constants.HF_HUB_OFFLINE and isinstance(error, errors.LocalEntryNotFoundError)
    ):
        return OfflineError(
            f"{request}: HF_HUB_OFFLINE is set and the cache does not have it; unset it, or {request.instead}"
        )
    if isinstance(error, errors.LocalEntryNotFoundError):
        return _no_answer(request, error.__cause__ or error)
    if isinstance(error, errors.EntryNotFoundError):
        return DataError(f"{request}: a file of the repository is missing ({_brief(error)})")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return ConfigurationError(
            f"{request}: no space left on the disk; set HF_HOME or storage.cache to a folder on a larger disk"
        )
    if isinstance(error, OSError) or status is not None or _is_of_http_client(error):
        return _no_answer(request, error)
    return None


def _no_answer(request: Request, error: BaseException) -> ServiceUnavailableError:
    return ServiceUnavailableError(
        f"{request}: the hub does not answer ({_brief(error)}); check the network and HF_ENDPOINT, or {request.instead}"
    )


def _is_of_http_client(error: Exception) -> bool:
    return type(error).__module__.startswith(("httpx", "httpcore", "requests", "urllib3"))


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
