"""Which checkpoint a run resumes from: the newest whose files equal its manifest."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from groot_ray.errors import DataError
from groot_ray.storage.committed import find_fault, own_files
from groot_ray.storage.tree import mirror_folder
from groot_ray.train.checkpoints.run_folder import RunFolder, Saved

log = logging.getLogger(__name__)


def choose_checkpoint(run: RunFolder, cache: Path) -> Saved | None:
    """The newest intact checkpoint of a run, regular or recovery; None for a run that has saved none yet.

    Damaged newer ones are set aside. Only the holder of the run's lease may call this.

    Args:
        cache: folder on this machine for copies of checkpoints in S3.

    Raises:
        DataError: the run has checkpoints, but none that it can resume from.
    """
    damaged: list[tuple[Saved, str]] = []
    for saved in run.resumable():
        fault = _fault(saved, cache)
        if fault is None:
            if damaged:
                log.warning(
                    "%s; resuming from the next older checkpoint, step %d",
                    "; ".join(fault for _, fault in damaged),
                    saved.step,
                )
            for other, _ in damaged:
                run.set_aside(other)
            return saved
        damaged.append((saved, fault))
    if damaged or run.committed():
        why = damaged[0][1] if damaged else "the optimizer states are gone"
        raise DataError(
            f"the run in {run.output.uri} has no complete checkpoint to resume from: {why}; restore the file from a "
            "copy, or start over with --force or in another output folder"
        )
    return None


def _fault(saved: Saved, cache: Path) -> str | None:
    try:
        files = own_files(saved.folder)
    except DataError as error:
        return str(error).partition(";")[0]
    if files is None:
        return None
    fault, _ = find_fault(saved.folder, files, cache)
    if fault is not None and not saved.folder.is_local:
        shutil.rmtree(mirror_folder(saved.folder, cache), ignore_errors=True)
    return fault
