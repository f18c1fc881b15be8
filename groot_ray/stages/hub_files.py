"""Copies files of the hub to storage, one by one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from groot_ray.hub import HubFile, Repository, download
from groot_ray.storage import Location
from groot_ray.storage.tree import for_each


def fetch(
    repository: Repository,
    files: Iterable[HubFile],
    target: Location,
    fetched: Callable[[HubFile], object] = lambda _: None,
) -> None:
    """Copy files to `target`, calling `fetched` after each; existing files of the same size are kept.

    Raises:
        DataError: a file differs from what the hub announced. Other errors as for `hub.resolve`.
    """
    present = {entry.relative: entry.size for entry in target.list()}

    def bring(file: HubFile) -> None:
        if present.get(file.path) != file.size:
            with tempfile.TemporaryDirectory(prefix="groot-ray-hub-") as folder:
                (target / file.path).upload(download(repository, file, Path(folder)))
        fetched(file)

    for_each(bring, files)
