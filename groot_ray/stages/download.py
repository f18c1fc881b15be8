"""download: pins the source, and copies it into storage if later stages could not read it otherwise."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from groot_ray import hub
from groot_ray.errors import DataError
from groot_ray.experiment.stages import DOWNLOAD
from groot_ray.progress import Progress, format_size, progress
from groot_ray.stages.base import Context, Made, Result, Stage
from groot_ray.stages.fingerprints import Fingerprinted, fingerprint, read_listing
from groot_ray.stages.hub_files import fetch
from groot_ray.stages.place import Place
from groot_ray.stages.sources import Source, source_of
from groot_ray.stages.work import Work
from groot_ray.storage import Entry, Location, open_location
from groot_ray.storage.manifest import FileRecord, Manifest, record_files
from groot_ray.storage.tree import for_each

DATASET = "dataset"


class Download(Stage):
    """The pinned source: a hub repository is copied into storage, a folder or S3 prefix is read in place.

    A local folder is copied too when the storage is remote, because a cluster could not read it.
    """

    declaration = DOWNLOAD

    def key(self, work: Work) -> str:
        return work.source.key

    def options(self, work: Work) -> dict[str, Any]:
        return {"source.episodes": work.source.episodes}

    def run(self, context: Context) -> Made:
        work = context.work
        copied = is_copied(work)
        files: list[FileRecord] = []
        if copied:
            files = _copy(context, context.output / DATASET, f"{DATASET}/")
        summary = {
            "copied": copied,
            "version": work.source.version,
            "fps": work.source.fps,
            "episodes": {part: len(numbers) for part, numbers in work.source.parts.items()},
            "unused_episodes": len(work.source.unused),
        }
        done = "copied into storage" if copied else "pinned by the fingerprints of its files"
        what = f"{work.source.files} files, {format_size(work.source.size)}"
        provenance = {"source": work.source.uri, "revision": work.source.revision}
        return Made(summary, files, f"{work.source.uri} ({what}) {done}", provenance)

    def run_plain(self, context: Context) -> Made:
        work = context.work
        if context.force and context.output.is_local:
            for name in ("meta", "data", "videos"):
                shutil.rmtree(context.output.path / name, ignore_errors=True)
        source = source_of(work.experiment)
        if source.repository is not None:
            repository = hub.resolve(source.repository, "dataset", source.revision)
            files = [file for file in hub.list_files(repository) if source.wants(file.path)]
            _fetch(context, repository, files, context.output)
            return Made({}, [], f"{repository.uri} ({len(files)} files) copied")
        assert source.location is not None
        entries = [entry for entry in source.location.list() if source.wants(entry.relative)]
        _bring(context, entries, context.output)
        return Made({}, [], f"{source.uri} ({len(entries)} files) copied")

    def rebuild(self, result: Result, paths: Collection[str], folder: Path) -> Iterator[str]:
        source = source_of(result.work.experiment)
        target = open_location(folder)
        wanted = {path.removeprefix(f"{DATASET}/") for path in paths}
        if source.repository is not None:
            assert result.work.source.revision is not None
            repository = hub.Repository(source.repository, "dataset", result.work.source.revision)
            found = [file for file in hub.list_files(repository) if file.path in wanted]
            fetch(repository, found, target / DATASET)
            yield from (f"{DATASET}/{file.path}" for file in found)
            return
        assert source.location is not None
        for path in sorted(wanted):
            if not (source.location / path).exists():
                raise DataError(f"{source.uri} has no file {path}")
            (target / DATASET / path).copy_from(source.location / path)
            yield f"{DATASET}/{path}"

    def files_of(self, result: Result) -> list[FileRecord]:
        return record_files(result.folder, [f"{DATASET}/{e.relative}" for e in (result.folder / DATASET).list()])

    def describe(self, place: Place, manifest: Manifest) -> str:
        return f"{place.folder.uri}/{DATASET}" if manifest.made.get("copied") else place.folder.uri


STAGE = Download()


def is_copied(work: Work) -> bool:
    """Whether the source's files are copied into storage."""
    source = source_of(work.experiment)
    return source.location is None or (source.location.is_local and not work.root.is_local)


def dataset_location(work: Work) -> Location:
    """Where the pinned source is read once download is done; the original of a copy need not be reachable."""
    place = work.place(DOWNLOAD.name)
    manifest = place.manifest()
    if manifest is not None and manifest.made.get("copied"):
        return place.folder / DATASET
    source = source_of(work.experiment)
    return place.folder / DATASET if source.location is None else source.location


def check_unchanged(work: Work, location: Location) -> None:
    """Compare a source that was not copied with its pin: by size and change token, then by hash if those differ.

    Raises:
        DataError: a file was changed or removed since the source was pinned.
    """
    pin = work.source
    known = read_listing(work.root, pin.listing)
    present = {entry.relative: entry for entry in location.list()}
    missing = next((file.path for file in known if file.path not in present), None)
    if missing is not None:
        raise DataError(f"{location.uri}: {missing} was removed since the source was pinned; {_AGAIN}")
    now = {
        file.path: file
        for file in fingerprint([present[file.path] for file in known], known, "changed files of the source")
    }
    changed = next((file.path for file in known if now[file.path].sha256 != file.sha256), None)
    if changed is not None:
        raise DataError(f"{location.uri}: {changed} was changed since the source was pinned; {_AGAIN}")


_AGAIN = "run `groot-ray run` or `groot-ray download` to pin the source as it is now"


def _copy(context: Context, target: Location, prefix: str) -> list[FileRecord]:
    """Copy the pinned source to `target`; returns its files, with `prefix` before their paths."""
    work = context.work
    source = source_of(work.experiment)
    if source.repository is not None:
        assert work.source.revision is not None
        repository = hub.Repository(source.repository, "dataset", work.source.revision)
        files = [file for file in hub.list_files(repository) if source.wants(file.path)]
        _fetch(context, repository, files, target)
        small = record_files(target, [file.path for file in files if file.sha256 is None])
        large = [FileRecord(file.path, file.size, file.sha256) for file in files if file.sha256 is not None]
        return [FileRecord(prefix + file.path, file.size, file.sha256) for file in (*small, *large)]
    pinned = {file.path: file for file in read_listing(work.root, work.source.listing)}
    _bring(context, _pinned_entries(source, pinned), target)
    return [FileRecord(prefix + file.path, file.size, file.sha256) for file in pinned.values()]


def _pinned_entries(source: Source, pinned: dict[str, Fingerprinted]) -> list[Entry]:
    """The source's files that the pin names; raises DataError if one has changed."""
    assert source.location is not None
    present = {entry.relative: entry for entry in source.location.list()}
    for path, file in pinned.items():
        if path not in present or present[path].version != file.version:
            raise DataError(f"{source.uri}: {path} was changed or removed since the source was pinned; {_AGAIN}")
    return [present[path] for path in pinned]


def _fetch(context: Context, repository: hub.Repository, files: list[hub.HubFile], target: Location) -> None:
    with progress(DOWNLOAD.name, len(files), "files", list(context.listeners)) as bar:
        context.check()
        fetch(repository, files, target, lambda file: _count(bar, file.size))


def _bring(context: Context, entries: list[Entry], target: Location) -> None:
    """Copy files, except those that exist in `target` with the same size: an earlier attempt copied them."""
    present = {entry.relative: entry.size for entry in target.list()}
    with progress(DOWNLOAD.name, len(entries), "files", list(context.listeners)) as bar:
        context.check()

        def bring(entry: Entry) -> None:
            if present.get(entry.relative) != entry.size:
                (target / entry.relative).copy_from(entry.location)
            _count(bar, entry.size)

        for_each(bring, entries)


def _count(bar: Progress, size: int) -> None:
    bar.advance(1, megabytes=float(bar.fields.get("megabytes", 0.0)) + size / 1e6)
