"""Evaluation into a folder you choose: storage is checked first, runs exclude each other, and results are reused."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from groot_ray.evaluate.checkpoints import check_files, find_checkpoints
from groot_ray.evaluate.open_loop import COMPARISON, METRICS, SUMMARY, evaluate, result_folders, trajectory_ids
from groot_ray.evaluate.record import part_to_evaluate, read_record
from groot_ray.evaluate.run import plot_names
from groot_ray.experiment.keys import digest
from groot_ray.experiment.schema import result_options
from groot_ray.storage import NotFoundError, check_storage
from groot_ray.storage.lease import claim_attempt

if TYPE_CHECKING:
    from groot_ray.evaluate.plan import EvaluationPlan
    from groot_ray.experiment.schema import EvaluationOptions
    from groot_ray.progress import Progress
    from groot_ray.storage import Location

log = logging.getLogger(__name__)

NOTES = ".groot-ray/evaluate"
DONE = "done.json"


def evaluate_into(plan: EvaluationPlan, *, progress: Progress | None = None, force: bool = False) -> dict[str, Any]:
    """`open_loop.evaluate` into the plan's folder; returns the content of ``metrics.json``, computed now or before.

    Args:
        force: evaluate again, even if the folder has the result of the same checkpoints, dataset and options.

    Raises:
        ConfigurationError: storage denies access, or as for `evaluate`.
    """
    from groot_ray.policy.load import ONLY_FOR_RESUME

    options, output = plan.options, plan.output
    chosen, _ = find_checkpoints(list(plan.checkpoints), options.checkpoints)
    check_files(chosen, None, ONLY_FOR_RESUME)
    first = chosen[0].location
    part = part_to_evaluate(first, read_record(first), plan.dataset, options.split)
    check_storage(output)
    wanted = _names(result_folders(chosen, output), output, part, options)
    attempt = claim_attempt(output / NOTES)
    assert attempt is not None
    with attempt:
        before = _read(output / NOTES / DONE)
        own = {*before.get("files", []), *wanted}
        key = digest(
            {
                "checkpoints": [_listing(checkpoint.location, output, own) for checkpoint in chosen],
                "dataset": _listing(part, output, own),
                "options": result_options(options) | {"plots": options.plots},
                "tag": plan.tag,
                "tokenizer": plan.tokenizer,
            }
        )
        if before.get("key") == key and not force and all((output / name).exists() for name in before["files"]):
            log.info("evaluate: done before, skipped: %s", output.uri)
            metrics: dict[str, Any] = (output / METRICS).read_json()
            return metrics
        # What may remain if this call is killed.
        (output / NOTES / DONE).write_json({"key": None, "files": sorted(own)})
        metrics = evaluate(plan, progress=progress, attempt=attempt.stoppable)
        for name in own - wanted:  # of other checkpoints or trajectories
            (output / name).delete()
        made = [name for name in sorted(wanted) if (output / name).exists()]
        (output / NOTES / DONE).write_json({"key": key, "files": made})
    return metrics


def _names(folders: Sequence[Location], output: Location, dataset: Location, options: EvaluationOptions) -> set[str]:
    """Paths below `output` of all files that an evaluation writes."""
    plots = [name for i in trajectory_ids(dataset, options) for name in plot_names(i)] if options.plots else []
    below = [folder.uri.removeprefix(output.uri).strip("/") for folder in folders]
    names = {f"{folder}/{name}".lstrip("/") for folder in below for name in (METRICS, SUMMARY, *plots)}
    return names | ({METRICS, SUMMARY, COMPARISON} if len(folders) > 1 else set())


def _listing(folder: Location, output: Location, own: Collection[str]) -> list[Any]:
    """Identifies a folder's content: its address, and each file's size and change token.

    Evaluation's `own` files below `output` are left out.
    """
    left_out = {(output / name).uri for name in own}
    notes = (output / NOTES.split("/")[0]).uri + "/"
    files = [e for e in folder.list() if e.location.uri not in left_out and not e.location.uri.startswith(notes)]
    return [folder.uri, *sorted([entry.relative, entry.size, entry.version] for entry in files)]


def _read(file: Location) -> dict[str, Any]:
    try:
        found = file.read_json()
    except NotFoundError:
        return {}
    return found if isinstance(found, dict) else {}
