"""A whole conversion: pin the plan, stream the episodes that are missing through Ray Data, list them in the ledger, finish."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from groot_ray.convert.finish import ConversionSummary, finish
from groot_ray.convert.ledger import Entry, Ledger
from groot_ray.convert.plan import ConversionPlan, check_same, made_from, make_plan, pin_plan
from groot_ray.convert.splits import Splits, split_episodes
from groot_ray.convert.stream import nodes, stream
from groot_ray.convert.task import Conversion, Lease, run_job
from groot_ray.dataset.source.lerobot_v2 import SourceDataset, open_source
from groot_ray.errors import ConfigurationError, DataError
from groot_ray.experiment.schema import ConversionOptions, SplitOptions
from groot_ray.progress import Listener, progress
from groot_ray.storage.lease import claim_attempt
from groot_ray.video.encode import codec_named

if TYPE_CHECKING:
    from groot_ray.embodiment.schema import Embodiment
    from groot_ray.statistics.columns import NumericDataset
    from groot_ray.storage import Location

log = logging.getLogger(__name__)

FOLDER = "conversion"
SEGMENT_SECONDS = 10.0
LOCAL_STATISTICS_PARTS = 4  # fewer parts than this are not worth a task each


def convert_dataset(
    source: Location,
    embodiment: Embodiment,
    conversion: ConversionOptions,
    splits: SplitOptions | Splits,
    output: Location,
    *,
    listeners: Sequence[Listener] = (),
    attempt: Lease | None = None,
    workers: int | None = None,
) -> ConversionSummary:
    """Convert a LeRobot dataset into GR00T datasets ``train``, ``validation`` and ``test`` below `output`.

    Killed at any point and called again, it goes on and ends with the same bytes; called again after the end, it only reads. Next to the
    parts, ``conversion/`` keeps the plan, the ledger and the report.

    Args:
        splits: how to deal the episodes out, or the outcome.
        listeners: told of the progress, in episodes.
        attempt: the lease of this run, checked before each commit; one is claimed in ``conversion/attempts`` when not given.
        workers: tasks at a time; `conversion.workers`, or as many as there are CPUs, when not given.

    Raises:
        ConfigurationError: options that do not fit, or a folder with something else in it.
        DataError: an episode is broken (the sentence names it) and `skip_bad` is off, or none is left.
    """
    codec_named(conversion.codec)
    dataset = open_source(source)
    chosen = splits if isinstance(splits, Splits) else split_episodes([e.index for e in dataset.episodes], splits)
    if attempt is None:
        own = claim_attempt(output / FOLDER)
        assert own is not None
        with own:
            return _convert(dataset, embodiment, conversion, chosen, output, own, workers, listeners)
    return _convert(dataset, embodiment, conversion, chosen, output, attempt, workers, listeners)


def _convert(
    dataset: SourceDataset,
    embodiment: Embodiment,
    conversion: ConversionOptions,
    splits: Splits,
    output: Location,
    lease: Lease,
    workers: int | None,
    listeners: Sequence[Listener],
) -> ConversionSummary:
    folder = output / FOLDER
    workers = workers or conversion.workers
    plan, resumed = _plan(dataset, embodiment, conversion, splits, output, lease)
    if (folder / "report.json").exists():
        return ConversionSummary.from_json(output.uri, (folder / "report.json").read_json())
    if plan.unused:
        log.info("in no part: %d episodes of the source: %s", len(plan.unused), ", ".join(map(str, plan.unused)))
    work = Conversion(dataset, embodiment, conversion, output, plan, lease, resumed)
    entries = _convert_all(work, Ledger(folder / "ledger"), workers, listeners)
    summary = finish(work, entries, partial(map_parts, workers=workers))
    sweep(output)
    lease.check()
    (folder / "report.json").write_json(summary.to_json())
    return summary


def _plan(
    dataset: SourceDataset,
    embodiment: Embodiment,
    conversion: ConversionOptions,
    splits: Splits,
    output: Location,
    lease: Lease,
) -> tuple[ConversionPlan, bool]:
    """The plan that holds, and whether an earlier run had made it."""
    location = output / FOLDER / "plan.json"
    made = made_from(dataset, embodiment, conversion, splits)
    if location.exists():
        plan = ConversionPlan.from_json(location.read_json())
        check_same(output, plan, made)
        return plan, True
    for part in splits.parts():
        if (output / part).has_files():
            raise ConfigurationError(
                f"{output.uri}/{part} has files that are not of a conversion; choose an empty folder"
            )
    with progress("measure", sum(map(len, splits.parts().values())), "episodes") as bar:
        plan = make_plan(dataset, embodiment, conversion, splits, bar.advance)
    lease.check()
    return pin_plan(location, plan), False


def _convert_all(work: Conversion, ledger: Ledger, workers: int | None, listeners: Sequence[Listener]) -> list[Entry]:
    """Convert what the ledger does not list; returns the entries of all jobs."""
    entries = ledger.read()
    listed = {entry.source_index for entry in entries}
    missing = [job for job in work.plan.jobs if job.source_index not in listed]
    pending: list[Entry] = []

    def append() -> None:
        work.lease.check()
        ledger.append(pending)
        entries.extend(pending)
        pending.clear()

    with progress("convert", len(work.plan.jobs), "episodes", list(listeners)) as bar:
        bar.resume(len(listed))
        frames = sum(entry.frames for entry in entries)
        written = time.monotonic()
        try:
            for entry in _stream_jobs(work, [job.source_index for job in missing], workers):
                if entry.error and not work.options.skip_bad:
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


def _stream_jobs(work: Conversion, missing: Sequence[int], workers: int | None) -> Iterator[Entry]:
    if missing and work.output.is_local and nodes() > 1:
        log.warning(
            "%s has to be a folder that all nodes of the Ray cluster share; else give an s3:// output", work.output.uri
        )
    chosen = set(missing)
    jobs = [job for job in work.plan.jobs if job.source_index in chosen]
    for _, entry in stream(_job, (work.light(), jobs), len(jobs), workers):
        yield entry


def _job(payload: tuple[Conversion, Sequence[Any]], number: int) -> Entry:
    conversion, jobs = payload
    return run_job(conversion, jobs[number])


def map_parts(
    function: Callable[[NumericDataset], Any], parts: list[NumericDataset], workers: int | None = None
) -> Iterable[Any]:
    """Like `map` over the parts of a dataset's numbers; on Ray when there are many."""
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
    """Remove what killed writes have left half-way; only a local disk keeps such files."""
    if not output.is_local:
        return
    from groot_ray.storage.tree import local_partials

    for path in local_partials(output.path):
        path.unlink(missing_ok=True)
