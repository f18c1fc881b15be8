"""Evaluation into a folder of one's own: storage is looked at first, one run at a time, and what is done is not done again."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from groot_ray.evaluate.checkpoints import find_checkpoints
from groot_ray.evaluate.open_loop import COMPARISON, METRICS, SUMMARY, evaluate, result_folders, trajectory_ids
from groot_ray.evaluate.record import part_to_evaluate, read_record
from groot_ray.evaluate.run import plot_names
from groot_ray.experiment.keys import digest
from groot_ray.experiment.schema import result_options
from groot_ray.storage import NotFoundError, check_storage
from groot_ray.storage.lease import claim_attempt

if TYPE_CHECKING:
    from groot_ray.experiment.schema import EvaluationOptions
    from groot_ray.progress import Progress
    from groot_ray.storage import Location

log = logging.getLogger(__name__)

NOTES = ".groot-ray/evaluate"
DONE = "done.json"


def evaluate_into(
    output: Location,
    checkpoints: Sequence[Location],
    dataset: Location | None,
    options: EvaluationOptions,
    *,
    tag: str | None,
    cache: str,
    tokenizer: str | None,
    progress: Progress | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """`open_loop.evaluate` into a plain folder; returns the content of ``metrics.json``, made now or before.

    Args:
        force: evaluate again, even when the folder holds the result of the same checkpoints, dataset and options.

    Raises:
        ConfigurationError: storage refuses something, or as for `evaluate`.
    """
    chosen, _ = find_checkpoints(list(checkpoints), options.checkpoints)
    first = chosen[0].location
    part = part_to_evaluate(first, read_record(first), dataset, options.split)
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
                "tag": tag,
                "tokenizer": tokenizer,
            }
        )
        if before.get("key") == key and not force and all((output / name).exists() for name in before["files"]):
            log.info("evaluate: done before, skipped: %s", output.uri)
            metrics: dict[str, Any] = (output / METRICS).read_json()
            return metrics
        (output / NOTES / DONE).write_json(
            {"key": None, "files": sorted(own)}
        )  # what may be there if this call is killed
        metrics = evaluate(
            list(checkpoints), dataset, options, output,
            tag=tag, cache=cache, tokenizer=tokenizer, progress=progress, attempt=attempt.stoppable,
        )  # fmt: skip
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
    """What tells the content of a folder apart from another's: its address, and each file's size and change token.

    What evaluation itself writes, its `own` files below `output`, is left out.
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
