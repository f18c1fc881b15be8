"""A worker's task: converts one episode in a temporary folder, moves the files into place, reports them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from groot_ray.convert.episode import Numbering, convert_episode
from groot_ray.convert.ledger import Entry, File
from groot_ray.convert.plan import ConversionPlan, ConversionRequest, Job
from groot_ray.convert.splits import Splits
from groot_ray.dataset.groot import layout
from groot_ray.errors import DataError
from groot_ray.storage import Location, manifest, open_location
from groot_ray.storage.lease import Lease


@dataclass(frozen=True)
class Conversion:
    """A request with its plan.

    `lease` is checked before any file is moved into place; `resumed`: earlier runs may have left finished files.
    """

    request: ConversionRequest
    plan: ConversionPlan
    lease: Lease
    resumed: bool = False

    def for_jobs(self, jobs: Sequence[Job]) -> Conversion:
        """The payload of these jobs' tasks: the source with their episodes only, without the plan's jobs."""
        source = self.request.source.select(job.source_index for job in jobs)
        request = replace(self.request, source=source, splits=Splits((), (), (), ()))
        return replace(self, request=request, plan=replace(self.plan, jobs=(), made={}, bad={}, unused=()))

    def numbering(self, job: Job) -> Numbering:
        """The numbers of the converted episode."""
        return Numbering(job.index, job.first, self.plan.task_numbers(job.part))


def run_job(conversion: Conversion, job: Job) -> Entry:
    """Convert one episode and return its entry for the ledger; a broken recording becomes an entry with an error."""
    request = conversion.request
    where = request.output / job.part
    if conversion.resumed:
        adopted = _adopt(conversion, job)
        if adopted is not None:
            return adopted
    numbering = conversion.numbering(job)
    with tempfile.TemporaryDirectory(prefix="groot-ray-convert-") as folder:
        try:
            written = convert_episode(
                request.source, job.source_index, numbering, request.embodiment, request.options, Path(folder)
            )
        except DataError as error:
            return Entry(job.part, job.index, job.source_index, error=str(error))
        conversion.lease.check()
        files = tuple(place(path, where / name, name) for name, path in written.items())
    return Entry(job.part, job.index, job.source_index, job.frames, files)


def place(path: Path, target: Location, name: str) -> File:
    """Move a file into place. A file that a killed run left there is kept if equal, else replaced."""
    ours = hash_file(open_location(path), name)
    if not target.upload(path, create_only=True) and hash_file(target, name) != ours:
        target.upload(path)
    return ours


def paths_of(conversion: Conversion, index: int) -> list[str]:
    """Paths of a converted episode's files; the one written last, the parquet file, comes last."""
    return [
        *(layout.video_path(camera.feature, index) for camera in conversion.request.embodiment.cameras),
        layout.data_path(index),
    ]


def _adopt(conversion: Conversion, job: Job) -> Entry | None:
    """The entry of a finished but unlisted episode; its parquet file is written last, so it proves that the videos are
    complete.
    """
    where = conversion.request.output / job.part
    paths = paths_of(conversion, job.index)
    if not all((where / path).exists() for path in reversed(paths)):
        return None
    files = tuple(hash_file(where / path, path) for path in paths)
    return Entry(job.part, job.index, job.source_index, job.frames, files)


def hash_file(location: Location, name: str) -> File:
    """Size and sha256 of a file, with its path `name` in the part."""
    return File(name, *manifest.hash_file(location))
