"""Rebuilds files of a finished conversion: damaged episodes and metadata, by the functions that wrote them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from groot_ray.convert.episode import convert_episode
from groot_ray.convert.finish import renumbered, write_descriptions, write_statistics
from groot_ray.convert.measure import measure_episode
from groot_ray.convert.plan import ConversionPlan, ConversionRequest, Job, make_plan
from groot_ray.convert.task import Conversion, paths_of
from groot_ray.dataset.groot import layout
from groot_ray.errors import DataError
from groot_ray.progress import progress

if TYPE_CHECKING:
    from groot_ray.storage import Location

STATISTICS = (layout.STATS, layout.RELATIVE_STATS)


def pinned_plan(location: Location, request: ConversionRequest) -> ConversionPlan:
    """The plan of a finished conversion; measured again if its file is missing or does not fit."""
    try:
        plan = ConversionPlan.from_json(location.read_json())
        if plan.made == request.made_from() and all(set(job.tasks) <= set(plan.tasks[job.part]) for job in plan.jobs):
            return plan
    except (DataError, KeyError, TypeError, ValueError, AttributeError):
        pass
    return make_plan(request)


def rebuild_part(
    conversion: Conversion, part: str, bad: Collection[int], damaged: Collection[str], intact: Location
) -> Iterator[str]:
    """Write the `damaged` files of a part again, below the output of the request, a local folder.

    Args:
        bad: source episodes that the conversion left out.
        damaged: paths in the part.
        intact: the part itself, whose other files the statistics need.

    Yields:
        Each path once it is written: episodes first, statistics last. The statistics are computed from the files
        yielded before, so the caller can stop at the first wrong one.

    Raises:
        DataError: the source is broken.
    """
    planned = [job for job in conversion.plan.jobs if job.part == part]
    jobs = renumbered([job for job in planned if job.source_index not in bad])
    yield from _episodes(conversion, jobs, damaged)
    described = [path for path in damaged if path.startswith("meta/") and path not in STATISTICS]
    statistics = [path for path in damaged if path in STATISTICS]
    if described or statistics:
        write_descriptions(conversion, part, jobs)
        yield from described
    if statistics:
        _bring(conversion, part, [layout.data_path(job.index) for job in jobs], damaged, intact)
        write_statistics(conversion, part, map)
        yield from statistics


def _episodes(conversion: Conversion, jobs: Sequence[Job], damaged: Collection[str]) -> Iterator[str]:
    request = conversion.request
    chosen = [job for job in jobs if not set(damaged).isdisjoint(paths_of(conversion, job.index))]
    if not chosen:
        return
    with progress("repair", len(chosen), "episodes") as bar:
        for job in chosen:
            conversion.lease.check()
            _check_measured(request, job)
            written = convert_episode(
                request.source,
                job.source_index,
                conversion.numbering(job),
                request.embodiment,
                request.options,
                request.output.path / job.part,
            )
            for path, file in written.items():
                if path in damaged:
                    yield path
                else:
                    file.unlink()
            bar.advance(1)


def _check_measured(request: ConversionRequest, job: Job) -> None:
    measure = measure_episode(request.source, job.source_index, request.embodiment, request.options)
    if (measure.rows, measure.length, measure.tasks) != (job.rows, job.frames, job.tasks):
        raise DataError(
            f"{request.source.where(job.source_index)} has {measure.rows} frames and the tasks {list(measure.tasks)}, "
            f"the plan has {job.rows} and {list(job.tasks)}"
        )


def _bring(conversion: Conversion, part: str, paths: Sequence[str], rebuilt: Collection[str], intact: Location) -> None:
    """Put the part's intact parquet files beside the rebuilt ones: as links on a disk, as copies from S3."""
    for path in paths:
        if path in rebuilt:
            continue
        target = conversion.request.output.path / part / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if intact.is_local:
            target.symlink_to((intact / path).path)
        else:
            (intact / path).download(target)
