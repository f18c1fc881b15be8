"""Runs a conversion: pins the plan, streams missing episodes through Ray Data, lists them in the ledger, finishes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from groot_ray.convert.finish import ConversionSummary, finish
from groot_ray.convert.ledger import Entry, Ledger
from groot_ray.convert.plan import ConversionPlan, ConversionRequest, Job, check_same, make_plan, pin_plan
from groot_ray.convert.stream import nodes, stream
from groot_ray.convert.task import Conversion, run_job
from groot_ray.errors import ConfigurationError, DataError
from groot_ray.experiment.stages import CONVERT
from groot_ray.progress import Listener, progress
from groot_ray.storage.lease import Lease, claim_attempt
from groot_ray.video.encode import codec_named

if TYPE_CHECKING:
    from groot_ray.statistics.columns import NumericDataset
    from groot_ray.storage import Location

log = logging.getLogger(__name__)

FOLDER = "conversion"
SEGMENT_SECONDS = 10.0
LOCAL_STATISTICS_PARTS = 4  # fewer parts than this are not worth Ray tasks


def convert_dataset(
    request: ConversionRequest,
    *,
    listeners: Sequence[Listener] = (),
    attempt: Lease | None = None,
    workers: int | None = None,
) -> ConversionSummary:
    """Convert recordings into GR00T datasets ``train``, ``validation`` and ``test`` below the request's output.

    If killed at any point and called again, it continues and ends with the same bytes; called after the end, it
    only reads. Next to the parts, ``conversion/`` holds the plan, the ledger and the report.

    Args:
        listeners: get the progress, in episodes.
        attempt: the lease of this run, checked before each commit; by default one is claimed in
            ``conversion/attempts``.
        workers: concurrent tasks; by default the request's `workers` option, else the number of CPUs.

    Raises:
        ConfigurationError: the options do not fit, or the folder holds other files.
        DataError: an episode is broken (the message names it) and `skip_bad` is off, or no episode is left.
    """
    codec_named(request.options.codec)
    workers = workers or request.options.workers
    if attempt is not None:
        return _convert(request, attempt, workers, listeners)
    own = claim_attempt(request.output / FOLDER)
    assert own is not None
    with own:
        return _convert(request, own, workers, listeners)


def _convert(
    request: ConversionRequest, lease: Lease, workers: int | None, listeners: Sequence[Listener]
) -> ConversionSummary:
    output = request.output
    conversion = _planned(request, lease)
    report = output / FOLDER / "report.json"
    if report.exists():
        return ConversionSummary.from_json(output.uri, report.read_json())
    unused = conversion.plan.unused
    if unused:
        log.info("in no part: %d episodes of the source: %s", len(unused), ", ".join(map(str, unused)))
    entries = _convert_all(conversion, Ledger(output / FOLDER / "ledger"), workers, listeners)
    summary = finish(conversion, entries, partial(map_parts, workers=workers))
    sweep(output)
    lease.check()
    report.write_json(summary.to_json())
    return summary


def _planned(request: ConversionRequest, lease: Lease) -> Conversion:
    """The conversion with its plan: an earlier run's, else a new one, which is pinned now."""
    location = request.output / FOLDER / "plan.json"
    if location.exists():
        plan = ConversionPlan.from_json(location.read_json())
        check_same(request, plan)
        return Conversion(request, plan, lease, resumed=True)
    parts = request.splits.parts()
    for part in parts:
        if (request.output / part).has_files():
            raise ConfigurationError(
                f"{request.output.uri}/{part} has files that no conversion wrote; choose an empty folder"
            )
    with progress("measure", sum(map(len, parts.values())), "episodes") as bar:
        plan = make_plan(request, bar.advance)
    lease.check()
    return Conversion(request, pin_plan(location, plan), lease)


def _convert_all(work: Conversion, ledger: Ledger, workers: int | None, listeners: Sequence[Listener]) -> list[Entry]:
    """Convert the episodes that the ledger does not list; returns the entries of all jobs."""
    entries = ledger.read()
    listed = {entry.source_index for entry in entries}
    missing = [job for job in work.plan.jobs if job.source_index not in listed]
    pending: list[Entry] = []

    def append() -> None:
        work.lease.check()
        ledger.append(pending)
        entries.extend(pending)
        pending.clear()

    with progress(CONVERT.name, len(work.plan.jobs), "episodes", list(listeners)) as bar:
        bar.resume(len(listed))
        frames = sum(entry.frames for entry in entries)
        written = time.monotonic()
        try:
            for entry in _stream_jobs(work, missing, workers):
                if entry.error and not work.request.options.skip_bad:
                    raise DataError(f"{entry.error} (--skip-bad leaves broken episodes out)")
                if entry.error:
                    log.warning("left out: %s", entry.error)
                pending.append(entry)
                frames += entry.frames
                bar.advance(1, frames=frames)
                if time.monotonic() - written > SEGMENT_SECONDS:
                    append()
                    written = time.monotonic()
        finally:
            append()
    return entries


def _stream_jobs(work: Conversion, jobs: Sequence[Job], workers: int | None) -> Iterator[Entry]:
    output = work.request.output
    if jobs and output.is_local and nodes() > 1:
        log.warning(
            "%s must be a folder that all nodes of the Ray cluster share; otherwise choose an s3:// output", output.uri
        )
    for _, entry in stream(_job, (work.for_jobs(jobs), jobs), len(jobs), workers):
        yield entry


def _job(payload: tuple[Conversion, Sequence[Job]], number: int) -> Entry:
    conversion, jobs = payload
    return run_job(conversion, jobs[number])


def map_parts(
    function: Callable[[NumericDataset], Any], parts: list[NumericDataset], workers: int | None = None
) -> Iterable[Any]:
    """Like `map` over the parts of a dataset's numeric columns; uses Ray if there are many."""
    if len(parts) < LOCAL_STATISTICS_PARTS:
        yield from map(function, parts)
        return
    waiting: dict[int, Any] = {}
    following = 0
    for number, result in stream(_part, (function, parts), len(parts), workers):
        waiting[number] = result
        while following in waiting:
            yield waiting.pop(following)
            following += 1


def _part(payload: tuple[Callable[[NumericDataset], Any], list[NumericDataset]], number: int) -> Any:
    function, parts = payload
    return function(parts[number])


def sweep(output: Location) -> None:
    """Remove partial files of killed writes, which exist only on local disks."""
    if not output.is_local:
        return
    from groot_ray.storage.tree import local_partials

    for path in local_partials(output.path):
        path.unlink(missing_ok=True)
