"""The Hugging Face hub: which commit a name means, which files it has, and bringing them to storage, checked, one by one.

HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are honored, as huggingface_hub reads them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from groot_ray.errors import ConfigurationError, DataError, ServiceUnavailableError
from groot_ray.storage import Location
from groot_ray.storage.tree import for_each

log = logging.getLogger(__name__)

Kind = Literal["dataset", "model"]
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"


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
        return f"hf://{'datasets/' if self.kind == 'dataset' else ''}{self.name}@{self.commit[:12]}"


def hub_name(text: str) -> str | None:
    """`org/name` of `hf://org/name`, `hf://datasets/org/name` or `org/name` (unless a folder is called so); None for all else."""
    given = text.removeprefix("hf://")
    if given != text:
        given = given.removeprefix("datasets/").removeprefix("models/").rstrip("/")
        if not re.fullmatch(f"{_NAME}/{_NAME}", given):
            raise ConfigurationError(
                f"{text!r} is no repository of the hub; write hf://org/name, and the branch or commit under revision"
            )
        return given
    if re.fullmatch(f"{_NAME}/{_NAME}", text) and not Path(text).exists():
        return text
    return None


def endpoint() -> str:
    """Address of the hub."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def resolve(name: str, kind: Kind, revision: str | None) -> Repository:
    """Ask the hub which commit `revision` (branch, tag or commit; the main branch when None) is now.

    Raises:
        ConfigurationError: there is no such repository or revision, or it may not be read without (another) token.
        ServiceUnavailableError: the hub does not answer.
    """
    from huggingface_hub import HfApi

    try:
        with explained(name, kind, revision):
            info = HfApi(endpoint()).repo_info(name, repo_type=kind, revision=revision)
    except ServiceUnavailableError as error:
        commit = cached_commit(name, kind, revision)
        if commit is None:
            raise
        log.warning("%s; going on with what the hub's cache on this machine holds (%s)", error, commit[:12])
        return Repository(name, kind, commit)
    return Repository(name, kind, str(info.sha))


def cached_commit(name: str, kind: Kind, revision: str | None) -> str | None:
    """The commit of a repository in the hub library's cache on this machine, or None."""
    from huggingface_hub import errors, snapshot_download

    try:
        return Path(snapshot_download(name, repo_type=kind, revision=revision, local_files_only=True)).name
    except (errors.LocalEntryNotFoundError, OSError, ValueError):
        return None


def list_files(repository: Repository) -> list[HubFile]:
    """The files of a repository, in the order of their paths."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    with explained(repository.name, repository.kind, repository.commit):
        found = list(
            HfApi(endpoint()).list_repo_tree(
                repository.name, repo_type=repository.kind, revision=repository.commit, recursive=True
            )
        )
    files = [item for item in found if isinstance(item, RepoFile)]
    listed = (HubFile(f.path, f.size, f.lfs.sha256 if f.lfs else None, None if f.lfs else f.blob_id) for f in files)
    return sorted(listed, key=lambda file: file.path)


def fetch(
    repository: Repository,
    files: Iterable[HubFile],
    target: Location,
    fetched: Callable[[HubFile], object] = lambda _: None,
) -> None:
    """Bring files to `target`, each whole or not at all; what an earlier attempt brought there (same size) is kept.

    Raises:
        DataError: a file came with other bytes than the hub announced.
    """
    present = {entry.relative: entry.size for entry in target.list()}

    def bring(file: HubFile) -> None:
        if present.get(file.path) != file.size:
            with tempfile.TemporaryDirectory(prefix="groot-ray-hub-") as folder:
                path = download(repository, file, Path(folder))
                (target / file.path).upload(path)
        fetched(file)

    for_each(bring, files)


def download(repository: Repository, file: HubFile, folder: Path) -> Path:
    """Download one file below `folder` and compare its size and hash with what the hub announced."""
    from huggingface_hub import hf_hub_download

    with explained(repository.name, repository.kind, repository.commit), _quiet():
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
        raise DataError(f"{file.path} of {repository.uri} came with other bytes than the hub announced; try again")
    return path


@contextmanager
def _quiet() -> Iterator[None]:
    """Without a bar for each file: there is one for all of them."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


def _is_announced(path: Path, file: HubFile) -> bool:
    if file.sha256 is not None:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256
    if file.git is not None:
        # Git names a blob by the sha1 of its size and content; that name tells damage, not malice.
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == file.git
    return True


@contextmanager
def explained(name: str, kind: Kind, revision: str | None) -> Iterator[None]:
    """Run calls of huggingface_hub and raise its errors as sentences."""
    from huggingface_hub import errors as hub

    where = f"{kind} {name!r} of the hub"
    address = endpoint()
    try:
        yield
    except hub.GatedRepoError:
        raise ConfigurationError(
            f"{where} needs consent: agree to its terms on its page, and set HF_TOKEN to a token of yours"
        ) from None
    except hub.RevisionNotFoundError:
        raise ConfigurationError(
            f"{where} has no revision {revision!r}; correct the revision, or leave it out"
        ) from None
    except hub.RepositoryNotFoundError:
        raise ConfigurationError(
            f"{where} does not exist at {address}, or is private: correct the name, or set HF_TOKEN"
        ) from None
    except hub.EntryNotFoundError as error:
        raise DataError(f"{where} lacks a file that it should have ({_brief(error)})") from None
    except hub.HFValidationError as error:
        raise ConfigurationError(f"{where}: {_brief(error)}") from None
    except hub.OfflineModeIsEnabled:
        raise ConfigurationError(
            f"{where} is needed but HF_HUB_OFFLINE is set; unset it, or use a copy in a folder or S3"
        ) from None
    except hub.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise ConfigurationError(f"{where} may not be read with this token; correct HF_TOKEN") from None
        raise ServiceUnavailableError(f"{where} cannot be read: {address} answered {status}; try again later") from None
    except Exception as error:
        if isinstance(error, OSError | TimeoutError) or type(error).__module__.startswith(
            ("httpx", "httpcore", "requests", "urllib3")
        ):
            raise ServiceUnavailableError(
                f"{where} cannot be reached: {address} does not answer ({type(error).__name__}); "
                "check the network and HF_ENDPOINT, or use a copy in a folder or S3"
            ) from None
        raise


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")
