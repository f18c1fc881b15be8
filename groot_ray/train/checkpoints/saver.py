"""Saving while training goes on: a snapshot is written, uploaded and committed by a thread of the first worker."""

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
from typing import TYPE_CHECKING, Any, Protocol

from groot_ray import __version__
from groot_ray.errors import StoppedError
from groot_ray.progress import format_duration, format_size
from groot_ray.storage import Location, open_location
from groot_ray.storage.local import explained_write
from groot_ray.storage.manifest import MANIFEST, FileRecord, Manifest, commit_manifest, record_files
from groot_ray.train.checkpoints.checkpoint import OPTIMIZER, Snapshot, write_snapshot
from groot_ray.train.checkpoints.run_folder import RunFolder

if TYPE_CHECKING:
    from groot_ray.model.n1d6.network import Gr00tN1d6

log = logging.getLogger(__name__)


class Lease(Protocol):
    """The right to write into a run's folder; picklable."""

    def check(self) -> None:
        """Raise TemporaryFailureError when another attempt has taken over, StoppedError when a person asks to stop."""
        ...


class Saver:
    """Writes snapshots one after the other; a failed one is raised at the next call.

    Args:
        companions: writes what a served checkpoint needs beside the weights (processor, tokenizer, copies of the options) into a folder.
        lease: checked before each commit.
        cache: folder on this machine for checkpoints on their way to S3.
        committed: told of each committed checkpoint.
    """

    def __init__(
        self,
        run: RunFolder,
        key: str,
        model: Gr00tN1d6,
        companions: Callable[[Path], None],
        lease: Lease,
        cache: Path,
        save_total_limit: int,
        keep_steps: Collection[int],
        committed: Callable[[Snapshot, Location], None],
    ) -> None:
        self._run = run
        self._key = key
        self._model = model
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
        """Begin to save; waits until the snapshot before is committed."""
        self.wait()
        self._pending = self._thread.submit(self._write, snapshot)

    def wait(self) -> None:
        """Wait until everything is committed; raises what went wrong."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """End the thread, after what it is writing."""
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
        """Write all files; straight into the folder where that is on this machine, since only the manifest makes it count."""
        if target.is_local:
            shutil.rmtree(target.path, ignore_errors=True)
            try:
                files = self._make(target.path, snapshot)
                for file in files:
                    sync(target.path / file.path)
            except BaseException:
                shutil.rmtree(target.path, ignore_errors=True)
                raise
            return files
        self._cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="checkpoint-", dir=self._cache) as folder:
            files = self._make(Path(folder), snapshot)
            target.delete_tree()
            # The weights go first and what makes the folder look like a checkpoint last.
            for file in sorted(files, key=lambda file: file.size, reverse=True):
                (target / file.path).upload(Path(folder) / file.path)
        return files

    def _make(self, folder: Path, snapshot: Snapshot) -> list[FileRecord]:
        with explained_write(str(folder)):
            write_snapshot(snapshot, self._model, folder)
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
        """Raise when the run is another attempt's now; a request to stop is no reason not to keep what has been trained."""
        with suppress(StoppedError):
            self._lease.check()


def sync(path: Path) -> None:
    """Bring a file to the disk, so that a machine that loses power keeps no manifest without its files."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def weights_hash(files: Collection[FileRecord]) -> str:
    """One sha256 over the names and hashes of the weight files: what a consumer's key holds."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.path):
        if file.path.endswith(".safetensors") and file.path != OPTIMIZER:
            digest.update(f"{file.path} {file.sha256}\n".encode())
    return digest.hexdigest()
