"""Saves checkpoints during training: a thread of the first worker writes, uploads and commits snapshots."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ray import __version__
from groot_ray.errors import StoppedError, TemporaryFailureError
from groot_ray.progress import format_duration, format_size
from groot_ray.storage import Location, open_location
from groot_ray.storage.committed import listing_fault
from groot_ray.storage.lease import Lease
from groot_ray.storage.local import explained_write
from groot_ray.storage.manifest import MANIFEST, FileRecord, Manifest, commit_manifest, record_files
from groot_ray.train.checkpoints.checkpoint import OPTIMIZER, Snapshot, write_snapshot
from groot_ray.train.checkpoints.run_folder import RunFolder

if TYPE_CHECKING:
    from groot_ray.model.family import ModelConfig

log = logging.getLogger(__name__)


class Saver:
    """Writes snapshots one after the other; if one fails, the next call raises its error.

    Args:
        key: hash of the run's identity, for the manifests.
        config: the model's configuration, which becomes config.json.
        companions: writes what serving needs besides the weights (processor, tokenizer, options) into a
            folder.
        lease: checked before each commit.
        cache: folder on this machine for checkpoints on their way to S3.
        committed: called after each commit.
    """

    def __init__(
        self,
        run: RunFolder,
        key: str,
        config: ModelConfig,
        companions: Callable[[Path], None],
        lease: Lease,
        cache: Path,
        save_total_limit: int,
        keep_steps: Collection[int],
        committed: Callable[[Snapshot, Location], None],
    ) -> None:
        self._run = run
        self._key = key
        self._config = config
        self._companions = companions
        self._lease = lease
        self._cache = cache
        self._save_total_limit = save_total_limit
        self._keep_steps = frozenset(keep_steps)
        self._committed = committed
        self._thread = ThreadPoolExecutor(1, "saver")
        self._pending: Future[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a snapshot is being written now."""
        return self._pending is not None and not self._pending.done()

    def save(self, snapshot: Snapshot) -> None:
        """Start saving once the previous snapshot is committed."""
        self.wait()
        self._pending = self._thread.submit(self._write, snapshot)

    def wait(self) -> None:
        """Wait until everything is committed; raises the error of a failed save."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Finish the current write and stop the thread."""
        self._thread.shutdown(wait=True)

    def _write(self, snapshot: Snapshot) -> None:
        begun = time.monotonic()
        checkpoint = snapshot.kind == "checkpoint"
        target = self._run.checkpoint(snapshot.step) if checkpoint else self._run.recovery(snapshot.step)
        if (target / MANIFEST).exists():
            return
        self._may_commit()
        files = self._fill(target, snapshot)
        self._may_commit()
        commit_manifest(target, self._manifest(snapshot, files))
        log.info(
            "%s of step %d saved to %s (%s in %s)",
            "checkpoint" if checkpoint else "recovery checkpoint", snapshot.step, target.uri,
            format_size(sum(file.size for file in files)), format_duration(time.monotonic() - begun),
        )  # fmt: skip
        self._run.retain(self._save_total_limit, self._keep_steps)
        self._committed(snapshot, target)

    def _fill(self, target: Location, snapshot: Snapshot) -> list[FileRecord]:
        """Write all files; if local, directly into the folder, since it counts only once it has a manifest."""
        if target.is_local:
            shutil.rmtree(target.path, ignore_errors=True)
            try:
                files = self._make(target.path, snapshot)
                for file in files:
                    sync(target.path / file.path)
                for parent in {(target.path / file.path).parent for file in files}:
                    sync(parent)
            except BaseException:
                shutil.rmtree(target.path, ignore_errors=True)
                raise
            return files
        self._cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="checkpoint-", dir=self._cache) as folder:
            files = self._make(Path(folder), snapshot)
            target.delete_tree()
            # Weights first; the small files that make the folder look like a checkpoint come last.
            for file in sorted(files, key=lambda file: file.size, reverse=True):
                (target / file.path).upload(Path(folder) / file.path)
        fault = listing_fault(target, files)
        if fault is not None:
            raise TemporaryFailureError(f"{fault} after its upload; run again to resume from an older checkpoint")
        return files

    def _make(self, folder: Path, snapshot: Snapshot) -> list[FileRecord]:
        with explained_write(str(folder)):
            write_snapshot(snapshot, self._config, folder)
            if snapshot.kind == "checkpoint":
                self._companions(folder)
        paths = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        return record_files(open_location(folder), paths)

    def _manifest(self, snapshot: Snapshot, files: list[FileRecord]) -> Manifest:
        resume = [file.path for file in files if file.path == OPTIMIZER]
        made: dict[str, Any] = {
            "kind": snapshot.kind,
            "step": snapshot.step,
            "max_steps": snapshot.trainer_state["max_steps"],
            "weights": weights_hash(files),
            "resume": resume,
            "files": [{"path": file.path, "size": file.size, "sha256": file.sha256} for file in files],
        }
        size = sum(file.size for file in files)
        return Manifest(stage=snapshot.kind, key=self._key, version=__version__, made=made, files=len(files), size=size)

    def _may_commit(self) -> None:
        """Raise if another attempt has taken over the run.

        A stop request is ignored, so that trained steps are kept.
        """
        with suppress(StoppedError):
            self._lease.check()


def sync(path: Path) -> None:
    """Flush a file or folder to disk, so that a power failure leaves no manifest without its files."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def weights_hash(files: Collection[FileRecord]) -> str:
    """One sha256 over the names and hashes of the weight files; keys of later stages contain it."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.path):
        if file.path.endswith(".safetensors") and file.path != OPTIMIZER:
            digest.update(f"{file.path} {file.sha256}\n".encode())
    return digest.hexdigest()
