"""Repairs a finished result: finds files that are not as recorded, rebuilds them, and replaces them if all are equal.

Nothing is touched before every rebuilt file has the recorded size and sha256. Each file is then replaced atomically, so
that a reader sees the damaged or the right file; a repair that is killed meanwhile continues when it is run again.
"""

from __future__ import annotations

import hashlib
import logging
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.experiment.document import Document
from groot_ray.stages.base import Result, Stage
from groot_ray.stages.registry import open_work, stage_named
from groot_ray.stages.work import NotReady, Work
from groot_ray.storage import Location, check_storage, open_location
from groot_ray.storage.hashes import hash_file
from groot_ray.storage.inventory import below, recorded_files
from groot_ray.storage.lease import claim_attempt
from groot_ray.storage.manifest import FILES, FileRecord, Manifest, list_of_files
from groot_ray.storage.verify import Damage, DamagedFilesError, find_damages
from groot_ray.system_errors import explained_system_errors
from groot_ray.termination import signals_as_errors

log = logging.getLogger(__name__)


def repair_stage(document: Document, name: str) -> list[Damage]:
    """Repair the result of a stage that is finished for this document, under the stage's lease.

    Returns:
        The damages that were found and repaired, with paths below the result's folder.

    Raises:
        ConfigurationError: there is no such result.
        DataError: a file cannot be rebuilt with the recorded bytes; nothing was changed.
    """
    stage = stage_named(name)
    work = open_work(document, may_pin=False)
    check_storage(work.root)
    folder, manifest = _finished(work, stage)
    attempt = claim_attempt(folder)
    assert attempt is not None
    with attempt, signals_as_errors(signal.SIGTERM), explained_system_errors():
        return _repair(stage, Result(work, folder, manifest, attempt.stoppable))


def _finished(work: Work, stage: Stage) -> tuple[Location, Manifest]:
    try:
        place = work.place(stage.name)
        manifest = place.manifest()
    except NotReady:
        manifest = None
    if manifest is None:
        raise ConfigurationError(
            f"{work.root.uri} has no finished result of {stage.name} for these options, so there is nothing to repair; "
            f"run `groot-ray {stage.name}` without --repair"
        )
    return place.folder, manifest


def _repair(stage: Stage, result: Result) -> list[Damage]:
    listed, lost_list = _recorded(stage, result)
    files = {file.path: file for file in listed}
    log.info("%s: comparing %d files of %s with their hashes", stage.name, len(files), result.folder.uri)
    damages = _damages(result.folder, listed)
    wrong = [files[damage.path] for damage in damages if damage.kind != "extra"]
    extra = [damage.path for damage in damages if damage.kind == "extra"]
    if lost_list is not None:
        damages.append(Damage(FILES, "bytes"))
    if not damages:
        log.info(
            "%s: nothing is damaged: all %d files of %s are as recorded", stage.name, len(files), result.folder.uri
        )
        return []
    for damage in damages:
        log.warning("%s/%s", result.folder.uri, damage)
    with tempfile.TemporaryDirectory(prefix="groot-ray-repair-") as scratch:
        _rebuild(stage, result, wrong, Path(scratch))
        _put_in_place(result, wrong, Path(scratch))
    for path in extra:
        result.lease.check()
        (result.folder / path).delete()
    if lost_list is not None:
        result.lease.check()
        (result.folder / FILES).write_bytes(lost_list)
    log.info(
        "%s: repaired: %d files rebuilt, %d extra files removed: %s",
        stage.name,
        len(damages) - len(extra),
        len(extra),
        result.folder.uri,
    )
    return damages


def _recorded(stage: Stage, result: Result) -> tuple[list[FileRecord], bytes | None]:
    """The recorded files, and the content of their list if it is damaged: rebuilt, and proved by the manifest."""
    if not result.manifest.files:
        return [], None
    try:
        return recorded_files(result.folder, result.manifest), None
    except DamagedFilesError:
        files = stage.files_of(result)
        data = list_of_files(files)
        if hashlib.sha256(data).hexdigest() != result.manifest.files_hash:
            raise DataError(
                f"{result.folder.uri}: {FILES} is missing or damaged, and so are other files, so nothing says what the "
                f"files must be; nothing was changed; run `groot-ray {stage.name} --force` to write a new result"
            ) from None
        return files, data


def _damages(result: Location, files: Sequence[FileRecord]) -> list[Damage]:
    """The damages of all folders that hold files of the result, with paths below the result's folder."""
    damages = []
    for folder in sorted({file.path.partition("/")[0] for file in files}):
        found = find_damages(result / folder, below(files, folder))
        damages += [Damage(f"{folder}/{damage.path}", damage.kind) for damage in found]
    return damages


def _rebuild(stage: Stage, result: Result, wrong: Sequence[FileRecord], scratch: Path) -> None:
    """Fill `scratch` with the right files; raises DataError at the first one that cannot be rebuilt."""
    missing = {file.path: file for file in wrong}
    if not missing:
        return
    forward = (
        f"nothing was changed; restore the source as it was pinned, or run `groot-ray {stage.name} --force` to write "
        "a new result"
    )
    try:
        for path in stage.rebuild(result, list(missing), scratch):
            expected = missing.pop(path)
            if hash_file(open_location(scratch / path)) != (expected.size, expected.sha256):
                raise DataError(
                    f"{path} does not get its recorded sha256, because the source or a library that encodes differs "
                    f"from when it was written with groot-ray {result.manifest.version}"
                )
        if missing:
            raise DataError(f"no episode of the plan writes {next(iter(missing))}")
    except DataError as error:
        raise DataError(f"{result.folder.uri} cannot be repaired: {str(error).rstrip('.')}; {forward}") from error


def _put_in_place(result: Result, wrong: Sequence[FileRecord], scratch: Path) -> None:
    for file in wrong:
        result.lease.check()
        target = result.folder / file.path
        target.upload(scratch / file.path)
        if hash_file(target) != (file.size, file.sha256):
            raise DataError(
                f"{target.uri} was replaced, but reads back with other bytes; check the disk or the service"
            )
