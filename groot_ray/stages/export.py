"""Copies finished results to plain folders: dataset parts, checkpoints, evaluations, as the stages declare them."""

from __future__ import annotations

from collections.abc import Iterator

from groot_ray.errors import ConfigurationError, DataError, did_you_mean
from groot_ray.experiment.stages import Export, exports_of
from groot_ray.progress import format_size, progress
from groot_ray.stages.catalog import Result, current_folders, need_experiment, results
from groot_ray.storage import Location
from groot_ray.storage.manifest import FileRecord, hash_file, read_files
from groot_ray.storage.tree import for_each


def export(experiment: Location, what: str, target: Location) -> str:
    """Copy a finished dataset part, checkpoint or evaluation to a plain folder; returns a sentence.

    Only files that a manifest lists are copied, not status, logs or provenance. Of a checkpoint, files that only a
    resume needs are left out.

    Raises:
        ConfigurationError: there is no such experiment or result, or the target folder holds other files.
        DataError: a file is missing or differs from the manifest; nothing stays in the target folder.
    """
    need_experiment(experiment)
    folder, files = find_export(experiment, what)
    sizes = {entry.relative: entry.size for entry in folder.list()}
    broken = next((path for path, file in files.items() if sizes.get(path) != file.size), None)
    if broken is not None:
        raise DataError(
            f"{folder.uri}/{broken} is missing or its size differs from its manifest; regenerate it with --force"
        )
    foreign = next((entry.relative for entry in target.list() if entry.relative not in files), None)
    if foreign is not None:
        raise ConfigurationError(f"{target.uri} holds other files ({foreign}); choose an empty folder")
    with progress("export", len(files), "files") as bar:

        def copy(path: str) -> None:
            (target / path).copy_from(folder / path)
            size, sha256 = hash_file(target / path)  # of what arrived
            if (size, sha256) != (files[path].size, files[path].sha256):
                raise DataError(
                    f"{folder.uri}/{path} is damaged: its sha256 differs from its manifest; regenerate it with --force"
                )
            bar.advance(1)

        try:
            for_each(copy, sorted(files))
        except DataError:
            for_each(lambda path: (target / path).delete(), sorted(files))
            raise
    size = format_size(sum(file.size for file in files.values()))
    return f"{what} of {experiment.name}: {len(files)} files, {size} copied to {target.uri}"


def find_export(experiment: Location, what: str) -> tuple[Location, dict[str, FileRecord]]:
    """The folder that `what` names, and its files by path; `checkpoint` means the one with the most steps."""
    found = list(results(experiment))
    current = current_folders(experiment)
    found.sort(key=lambda result: (current.get(result.stage) == result.name, result.used), reverse=True)
    offered: list[str] = []
    for result in found:
        for name, folder, files in exports(result):
            if name == what:
                return folder, files
            offered.append(name)
    numbered = [name for name in offered if name.removeprefix(f"{what}-").isdigit()]
    if numbered:
        return find_export(experiment, max(numbered, key=lambda name: int(name.rpartition("-")[2])))
    known = sorted(set(offered))
    raise ConfigurationError(
        f"{experiment.name} has no finished {what!r}{did_you_mean(what, known)}; "
        f"it has {', '.join(known) or 'nothing finished yet'}"
    )


def exports(result: Result) -> Iterator[tuple[str, Location, dict[str, FileRecord]]]:
    """A result's exports: name, folder, and the files by path."""
    for declared in exports_of(result.stage):
        if declared.is_pattern:
            yield from _inner_exports(result, declared)
        elif result.manifests:
            prefix = f"{declared.folder}/" if declared.folder else ""
            listed = [file for file in read_files(result.folder) if file.path.startswith(prefix)]
            if listed:
                files = {file.path.removeprefix(prefix): file for file in listed}
                yield declared.name, result.folder / declared.folder, files


def _inner_exports(result: Result, declared: Export) -> Iterator[tuple[str, Location, dict[str, FileRecord]]]:
    """Folders of a result that have their own manifests, newest first."""
    for name, manifest in reversed(result.checkpoints.items()):
        if declared.matches(name):
            resume = set(manifest.made.get("resume", ()))
            listed = [FileRecord(**file) for file in manifest.made.get("files", ())]
            yield name, result.folder / name, {file.path: file for file in listed if file.path not in resume}
