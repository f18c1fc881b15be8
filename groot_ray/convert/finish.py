"""The end of a conversion: gapless numbers, metadata in episode order, statistics of each part, the report."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from groot_ray.convert.episode import numeric_table, write_parquet
from groot_ray.convert.ledger import Entry
from groot_ray.convert.plan import Job
from groot_ray.convert.task import Conversion, hash_file, paths_of
from groot_ray.dataset.groot import layout
from groot_ray.embodiment.modality import modality_configs
from groot_ray.errors import DataError
from groot_ray.statistics.files import MapParts, compute_statistics
from groot_ray.video.encode import codec_named

if TYPE_CHECKING:
    from groot_ray.storage import Location

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConversionSummary:
    """The result of a conversion: numbers of episodes and frames per part, and the episodes in no part."""

    output: str
    parts: Mapping[str, Mapping[str, int]]
    unused: tuple[int, ...] = ()
    bad: Mapping[int, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The summary as JSON data, without its location."""
        return {
            "parts": {name: dict(numbers) for name, numbers in self.parts.items()},
            "episodes_in_no_part": list(self.unused),
            "bad_episodes": {str(index): reason for index, reason in self.bad.items()},
        }

    @classmethod
    def from_json(cls, output: str, content: Mapping[str, Any]) -> ConversionSummary:
        """Read `to_json` back."""
        bad = {int(index): reason for index, reason in content["bad_episodes"].items()}
        return cls(output, content["parts"], tuple(content["episodes_in_no_part"]), bad)


def finish(conversion: Conversion, entries: Sequence[Entry], map_parts: MapParts) -> ConversionSummary:
    """Write the files that describe complete parts; checks the lease before each write."""
    by_source = {entry.source_index: entry for entry in entries}
    bad = dict(conversion.plan.bad) | {entry.source_index: entry.error for entry in entries if entry.error}
    parts = {}
    for part in conversion.plan.tasks:
        planned = [job for job in conversion.plan.jobs if job.part == part]
        jobs = renumbered([job for job in planned if not by_source[job.source_index].error])
        if not jobs and part == "train":
            raise DataError(f"no episode is left to train on; first problem: {next(iter(bad.values()))}")
        close_gaps(conversion, planned, jobs, by_source)
        if not jobs:
            log.warning("part %s has no episode left", part)
            continue
        write_meta(conversion, part, jobs, map_parts)
        parts[part] = {"episodes": len(jobs), "frames": sum(job.frames for job in jobs)}
    return ConversionSummary(conversion.request.output.uri, parts, conversion.plan.unused, dict(sorted(bad.items())))


def renumbered(jobs: Sequence[Job]) -> list[Job]:
    """The jobs of a part, renumbered from 0 without gaps."""
    first = 0
    numbered = []
    for index, job in enumerate(jobs):
        numbered.append(replace(job, index=index, first=first))
        first += job.frames
    return numbered


def close_gaps(
    conversion: Conversion,
    planned: Sequence[Job],
    jobs: Sequence[Job],
    entries: Mapping[int, Entry],
) -> None:
    """Renumber episodes to close the gaps left by broken ones.

    In ascending order, a file is overwritten only after its own episode has moved. Files that an earlier, killed
    run has already moved are recognized by their hash in the ledger, so this can be restarted at any point.
    """
    if len(planned) == len(jobs):
        return
    request = conversion.request
    where = request.output / planned[0].part
    before = {job.source_index: job for job in planned}
    for job in jobs:
        old = before[job.source_index]
        if (old.index, old.first) == (job.index, job.first):
            continue
        conversion.lease.check()
        hashes = {file.path: file for file in entries[job.source_index].files}
        for source, target in zip(
            paths_of(conversion, old.index)[:-1], paths_of(conversion, job.index)[:-1], strict=True
        ):
            expected = hashes[source].sha256
            if not (where / target).exists() or hash_file(where / target, target).sha256 != expected:
                (where / target).copy_from(where / source)
        table, _, _ = numeric_table(
            request.source, job.source_index, conversion.numbering(job), request.embodiment, request.options
        )
        with TemporaryDirectory(prefix="groot-ray-convert-") as folder:
            written = Path(folder) / "episode.parquet"
            write_parquet(table, written)
            (where / layout.data_path(job.index)).upload(written)
    for job in planned[len(jobs) :]:
        conversion.lease.check()
        for path in paths_of(conversion, job.index):
            (where / path).delete()


def write_meta(conversion: Conversion, part: str, jobs: Sequence[Job], map_parts: MapParts) -> None:
    """Write the metadata of a part, its statistics last."""
    write_descriptions(conversion, part, jobs)
    conversion.lease.check()
    write_statistics(conversion, part, map_parts)


def write_descriptions(conversion: Conversion, part: str, jobs: Sequence[Job]) -> None:
    """Write the metadata of a part except its statistics."""
    request, options = conversion.request, conversion.request.options
    where = request.output / part
    episodes = [layout.WrittenEpisode(job.index, job.frames, job.tasks) for job in jobs]
    video = layout.VideoFormat(options.resolution, codec_named(options.codec).feature_name)
    files = layout.meta_files(request.embodiment, episodes, conversion.plan.tasks[part], options.fps, video)
    for path, content in files.items():
        conversion.lease.check()
        write_content(where / path, content)


def write_statistics(conversion: Conversion, part: str, map_parts: MapParts) -> None:
    """Compute and write the statistics of a part from its metadata and parquet files."""
    request = conversion.request
    compute_statistics(request.output / part, modality_configs(request.embodiment), map_parts=map_parts)


def write_content(location: Location, content: Any) -> None:
    """Write text unchanged, other data as JSON."""
    if isinstance(content, str):
        location.write_text(content)
    else:
        location.write_json(content)
