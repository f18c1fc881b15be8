"""Evaluation into a folder of one's own: storage is looked at first, one run at a time, and what is done is not done again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from groot_ray.dataset.layout import choose_part
from groot_ray.evaluate.checkpoints import find_checkpoints
from groot_ray.evaluate.open_loop import METRICS, evaluate
from groot_ray.evaluate.record import read_record, recorded_part
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
    if dataset is None:
        first = chosen[0].location
        part = recorded_part(first, read_record(first), options.split)
    else:
        part = choose_part(dataset, options.split, "--split")
    check_storage(output)
    asked = {
        "checkpoints": [_listing(checkpoint.location, output) for checkpoint in chosen],
        "dataset": _listing(part, output),
        "options": result_options(options) | {"plots": options.plots},
        "tag": tag,
        "tokenizer": tokenizer,
    }
    key = digest(asked)
    attempt = claim_attempt(output / NOTES)
    assert attempt is not None
    with attempt:
        before = _read(output / NOTES / DONE)
        if before.get("key") == key and not force and all((output / name).exists() for name in before["files"]):
            log.info("evaluate: done before, skipped: %s", output.uri)
            metrics: dict[str, Any] = (output / METRICS).read_json()
            return metrics
        for name in before.get("files", []):  # of other checkpoints or trajectories
            (output / name).delete()
        there = {entry.relative for entry in output.list()}
        metrics = evaluate(
            list(checkpoints), dataset, options, output,
            tag=tag, cache=cache, tokenizer=tokenizer, progress=progress, attempt=attempt.stoppable,
        )  # fmt: skip
        made = {entry.relative for entry in output.list()} - there | {METRICS}
        made = {name for name in made if not name.startswith(NOTES.split("/")[0])}
        (output / NOTES / DONE).write_json({"key": key, "files": sorted(made)})
    return metrics


def _listing(folder: Location, output: Location) -> list[Any]:
    """What tells the content of a folder apart from another's: its address, and each file's size and change token, `output` left out."""
    files = [entry for entry in folder.list() if not entry.location.uri.startswith(f"{output.uri}/")]
    return [folder.uri, *sorted([entry.relative, entry.size, entry.version] for entry in files)]


def _read(file: Location) -> dict[str, Any]:
    try:
        found = file.read_json()
    except NotFoundError:
        return {}
    return found if isinstance(found, dict) else {}
