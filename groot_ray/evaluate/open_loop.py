"""Open-loop evaluation of checkpoints on recorded episodes, from their locations to metrics, plots and a comparison."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ray.dataset.groot.layout import EPISODES
from groot_ray.dataset.jsonl import parse_jsonl
from groot_ray.evaluate.checkpoints import Checkpoint, check_files, find_checkpoints
from groot_ray.evaluate.plan import EvaluationPlan
from groot_ray.evaluate.record import Before, Record, part_to_evaluate, read_record
from groot_ray.evaluate.results import compare, describe, verdict
from groot_ray.evaluate.run import Run, run_policy
from groot_ray.evaluate.summary import comparison_csv, comparison_summary, evaluation_summary
from groot_ray.experiment.schema import EvaluationOptions
from groot_ray.storage import Location

if TYPE_CHECKING:
    from groot_ray.progress import Progress
    from groot_ray.storage.lease import Lease

log = logging.getLogger(__name__)

METRICS, SUMMARY, COMPARISON = "metrics.json", "evaluation_summary.txt", "checkpoint_comparison.csv"


def evaluate(
    plan: EvaluationPlan,
    *,
    progress: Progress | None = None,
    attempt: Lease | None = None,
    distributed: bool | None = None,
) -> dict[str, Any]:
    """Evaluate checkpoints open-loop and write the results below the plan's output, ``metrics.json`` last.

    Args:
        progress: counts trajectories.
        attempt: lease that is checked after each trajectory and before results are written.
        distributed: run each model as a Ray task; by default where Ray has several nodes, or GPUs that this process
            lacks.

    Returns:
        The content of ``metrics.json``: of the checkpoint, or of several ``{"best": name, "checkpoints": {...}, ...}``.

    Raises:
        ConfigurationError: a checkpoint, dataset, trajectory or tag does not exist, or the horizon exceeds the model's.
        DataError: a dataset or checkpoint is broken, or they do not fit each other. If any checkpoint differs from its
            manifest, none is evaluated.
        TemporaryFailureError: a checkpoint was removed meanwhile.
    """
    from groot_ray.evaluate.fanout import is_worthwhile
    from groot_ray.policy.load import ONLY_FOR_RESUME

    options, output = plan.options, plan.output
    chosen, notes = find_checkpoints(list(plan.checkpoints), options.checkpoints)
    for note in notes:
        log.warning("%s", note)
    spread = is_worthwhile() if distributed is None else distributed
    compared = check_files(chosen, None if spread else Path(plan.cache).expanduser(), ONLY_FOR_RESUME)
    records = [read_record(checkpoint.location) for checkpoint in chosen]
    part = part_to_evaluate(chosen[0].location, records[0], plan.dataset, options.split)
    folders = result_folders(chosen, output)
    runs = [
        Run(
            checkpoint=checkpoint.location,
            dataset=part,
            options=options,
            tag=plan.tag or record.tag,
            cache=plan.cache,
            device=plan.device,
            plots=folder if options.plots else None,
            tokenizer=plan.tokenizer,
            checked=checkpoint.location in compared,
        )
        for checkpoint, record, folder in zip(chosen, records, folders, strict=True)
    ]
    untrained = untrained_runs(runs, records) if options.baselines else {}
    done = run_all([*runs, *untrained.values()], progress, attempt, spread)
    starts = dict(zip(untrained, done[len(runs) :], strict=True))
    entries = [
        describe(checkpoint, run, result, record.before, starts.get(start_of(run, record)), notes)
        for checkpoint, run, record, result in zip(chosen, runs, records, done, strict=False)
    ]
    if attempt is not None:
        attempt.check()
    return write_results(output, folders, entries, notes)


def result_folders(checkpoints: Sequence[Checkpoint], output: Location) -> list[Location]:
    """Where each checkpoint's results go: `output` itself for one, else a folder of its name, numbered if taken."""
    if len(checkpoints) == 1:
        return [output]
    names = [checkpoint.name for checkpoint in checkpoints]
    earlier = [names[:place].count(name) for place, name in enumerate(names)]
    return [output / (f"{name}_{count + 1}" if count else name) for name, count in zip(names, earlier, strict=True)]


Start = tuple[Before | None, Location]


def start_of(run: Run, record: Record) -> Start:
    """Identifies an untrained model: its weights, and the run, whose checkpoints share their processing."""
    return record.before, run.checkpoint.parent


def untrained_runs(runs: Sequence[Run], records: Sequence[Record]) -> dict[Start, Run]:
    """One run with the weights before finetuning for all checkpoints of a training run."""
    found: dict[Start, Run] = {}
    for run, record in zip(runs, records, strict=True):
        found.setdefault(start_of(run, record), replace(run, plots=None, untrained=True, before=record.before))
    return found


def run_all(
    runs: Sequence[Run], progress: Progress | None, attempt: Lease | None, distributed: bool
) -> list[dict[str, Any]]:
    """The results of all runs in order, computed here one after the other or as Ray tasks."""
    from groot_ray.evaluate.fanout import run_distributed

    each = len(trajectory_ids(runs[0].dataset, runs[0].options))
    if progress is not None:
        progress.total = each * len(runs)

    def advance(trajectories: int) -> None:
        if attempt is not None:
            attempt.check()
        if progress is not None:
            progress.advance(trajectories)

    if distributed:
        return run_distributed(runs, lambda: advance(each), lambda: advance(0))
    return [run_policy(run, lambda: advance(1)) for run in runs]


def trajectory_ids(dataset: Location, options: EvaluationOptions) -> list[int]:
    """Numbers of the episodes that are evaluated, from the list of episodes alone."""
    if options.traj_ids is not None:
        return list(dict.fromkeys(options.traj_ids))
    return [row["episode_index"] for row in parse_jsonl((dataset / EPISODES).read_text(), EPISODES)]


def write_results(
    output: Location, folders: Sequence[Location], entries: Sequence[dict[str, Any]], notes: Sequence[str]
) -> dict[str, Any]:
    """Write metrics and summary of each checkpoint and, for several, their comparison; returns the top metrics.json."""
    for folder, entry in zip(folders, entries, strict=True):
        (folder / SUMMARY).write_text(evaluation_summary(entry))
        (folder / METRICS).write_json(entry)
        log.info("%s", verdict(entry))
    log.info("metrics, summary and plots are in %s", output.uri)
    if len(entries) == 1:
        return entries[0]
    metrics = compare({folder.name: entry for folder, entry in zip(folders, entries, strict=True)}, notes)
    (output / COMPARISON).write_text(comparison_csv(entries))
    (output / SUMMARY).write_text(comparison_summary(metrics))
    (output / METRICS).write_json(metrics)
    return metrics
