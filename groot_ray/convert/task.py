"""What a worker does for one episode: convert it in a folder of its own, put the files in their place, and report them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from groot_ray.convert.episode import Numbering, convert_episode
from groot_ray.convert.ledger import Entry, File
from groot_ray.convert.plan import ConversionPlan, Job
from groot_ray.dataset.groot import layout
from groot_ray.dataset.source.lerobot_v2 import SourceDataset, SourceEpisode
from groot_ray.errors import DataError
from groot_ray.experiment.schema import ConversionOptions
from groot_ray.storage import Location, manifest, open_location

if TYPE_CHECKING:
    from groot_ray.embodiment.schema import Embodiment


class Lease(Protocol):
    """The right to write."""

    def check(self) -> None:
        """Raises when another run has taken over, or a person wants this one to stop."""


@dataclass(frozen=True)
class Conversion:
    """Everything that the tasks of one conversion share.

    `lease` is checked before anything is put in its place; `resumed`: earlier runs may have left finished files.
    """

    source: SourceDataset
    embodiment: Embodiment
    options: ConversionOptions
    output: Location
    plan: ConversionPlan
    lease: Lease
    resumed: bool = False

    def light(self) -> Conversion:
        """The same without lists as long as the dataset: a task gets its own episode beside it."""
        source = replace(self.source, episodes=[], _positions={})
        return replace(self, source=source, plan=replace(self.plan, jobs=(), made={}))


def run_job(conversion: Conversion, job: Job) -> Entry:
    """Convert one episode and return its entry for the ledger; a broken recording makes an entry with an error, no exception."""
    where = conversion.output / job.part
    if conversion.resumed:
        adopted = _adopt(conversion, job)
        if adopted is not None:
            return adopted
    source = source_of(conversion, job)
    numbering = Numbering(job.index, job.first, conversion.plan.task_numbers(job.part))
    with tempfile.TemporaryDirectory(prefix="groot-ray-convert-") as folder:
        try:
            written = convert_episode(
                source, job.source_index, numbering, conversion.embodiment, conversion.options, Path(folder)
            )
        except DataError as error:
            return Entry(job.part, job.index, job.source_index, error=str(error))
        conversion.lease.check()
        files = tuple(place(path, where / name, name) for name, path in written.items())
    return Entry(job.part, job.index, job.source_index, job.frames, files)


def place(path: Path, target: Location, name: str) -> File:
    """Put a file where it belongs. One that a killed run has left there is kept when it is the same, else replaced."""
    ours = hash_file(open_location(path), name)
    if not target.upload(path, create_only=True) and hash_file(target, name) != ours:
        target.upload(path)
    return ours


def paths_of(conversion: Conversion, index: int) -> list[str]:
    """Files of an episode of that number, the one that is written last at the end."""
    return [
        *(layout.video_path(camera.feature, index) for camera in conversion.embodiment.cameras),
        layout.data_path(index),
    ]


def _adopt(conversion: Conversion, job: Job) -> Entry | None:
    """The entry of an episode that was finished but not listed; its parquet file comes last, so it proves the videos."""
    where = conversion.output / job.part
    paths = paths_of(conversion, job.index)
    if not all((where / path).exists() for path in reversed(paths)):
        return None
    files = tuple(hash_file(where / path, path) for path in paths)
    return Entry(job.part, job.index, job.source_index, job.frames, files)


def source_of(conversion: Conversion, job: Job) -> SourceDataset:
    """The source with the one episode of a job."""
    episode = SourceEpisode(job.source_index, job.rows, job.tasks)
    return replace(conversion.source, episodes=[episode], _positions={job.source_index: 0})


def hash_file(location: Location, name: str) -> File:
    """Size and sha256 of a file, which is called `name` in its part."""
    return File(name, *manifest.hash_file(location))
