"""Which checkpoints of a run are evaluated, and which of the requested ones are missing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.model.family import CONFIG, processor_files
from groot_ray.storage import Location
from groot_ray.storage.committed import ADVICE, checked_mirror, listing_fault, own_files, removed, unless_removed
from groot_ray.storage.manifest import MANIFEST

Selection = Literal["last", "all"] | list[int]
RUN = "run.json"  # in the folders that our own finetuning writes, which commits checkpoints by their manifest
_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """A folder with weights and processing; `step` is None if its name has none."""

    location: Location
    step: int | None

    @property
    def name(self) -> str:
        """Name of its folder in the results: ``step_1000``."""
        return self.location.name if self.step is None else f"step_{self.step}"


def find_checkpoints(locations: Sequence[Location], selection: Selection) -> tuple[list[Checkpoint], list[str]]:
    """The checkpoints at `locations`, each a checkpoint's folder or a run's with ``checkpoint-<step>`` folders.

    Args:
        selection: steps to take from a run's folder: the last, all, or those listed. A checkpoint's own folder is
            always taken.

    Returns:
        The checkpoints in the order asked for, and a sentence for each run in which requested steps are missing.

    Raises:
        ConfigurationError: a location has no checkpoint, or none of the requested steps.
    """
    found: list[Checkpoint] = []
    notes: list[str] = []
    for location in locations:
        if is_checkpoint(location) or own_files(location) is not None:
            found.append(Checkpoint(location, step_of(location)))
            continue
        steps = steps_of_run(location)
        if not steps:
            raise ConfigurationError(
                f"{location.uri} is neither a checkpoint (it has no processor_config.json) nor a run's folder with "
                "checkpoint-<step> folders"
            )
        chosen, note = choose_steps(sorted(steps), selection, location.uri)
        found += [Checkpoint(steps[step], step) for step in chosen]
        notes += [note] if note else []
    return found, notes


def steps_of_run(run: Location) -> dict[int, Location]:
    """The checkpoints in a run's folder by step; those that our finetuning has not committed yet are excluded."""
    folders = {step: folder for folder in run.folders() if (step := step_of(folder)) is not None}
    if (run / RUN).exists():  # a committed one with a missing file is rejected later, by name, and never skipped
        return {step: folder for step, folder in folders.items() if (folder / MANIFEST).exists()}
    return {step: folder for step, folder in folders.items() if is_checkpoint(folder)}


def check_files(checkpoints: Sequence[Checkpoint], cache: Path | None, without: frozenset[str]) -> set[Location]:
    """Compare checkpoints with their manifests: the sizes of all, then, if there is a `cache`, the bytes.

    Checkpoints of other programs have no manifest and are taken as they are.

    Args:
        cache: folder on this machine for copies of checkpoints in S3; None if other machines will load them.
        without: paths that evaluation does not use; they may be missing.

    Returns:
        Those whose bytes have been compared on this machine.

    Raises:
        DataError: a file is damaged, missing or foreign; the message names it.
        TemporaryFailureError: a checkpoint was removed meanwhile.
    """
    listed = set()
    for checkpoint in checkpoints:
        files = own_files(checkpoint.location)
        if files is None:
            if (checkpoint.location.parent / RUN).exists():
                raise removed(checkpoint.location)
            continue
        listed.add(checkpoint.location)
        with unless_removed(checkpoint.location):
            fault = listing_fault(checkpoint.location, files, without)
            if fault is not None:
                raise DataError(f"{fault}; {ADVICE}")
    if cache is None:
        return set()
    for location in listed:
        checked_mirror(location, cache, without)
    return listed


def is_checkpoint(folder: Location) -> bool:
    """Whether a folder has a complete checkpoint of any family: model configuration and processing."""
    return any((folder / name).exists() for name in processor_files()) and (folder / CONFIG).exists()


def step_of(folder: Location) -> int | None:
    """The step in a checkpoint's name; None where there is none."""
    match = _NAME.fullmatch(folder.name)
    return int(match.group(1)) if match else None


def choose_steps(present: Sequence[int], selection: Selection, where: str) -> tuple[list[int], str | None]:
    """Choose among the `present` steps (ascending).

    Returns:
        The chosen steps, and one sentence that names the missing ones.

    Raises:
        ConfigurationError: none of the requested steps exists.
    """
    if selection == "all":
        return list(present), None
    if selection == "last":
        return [present[-1]], None
    wanted = list(dict.fromkeys(selection))
    gone = [step for step in wanted if step not in present and step < present[-1]]
    ahead = [step for step in wanted if step > present[-1]]
    reasons = []
    if gone:
        advice = "removed by save_total_limit or never saved; keep_steps keeps them"
        reasons.append(f"{listed(gone)} ({advice})")
    if ahead:
        reasons.append(f"{listed(ahead)} (the run has only reached {present[-1]})")
    if not reasons:
        return wanted, None
    note = f"{where} has no checkpoint of {' and none of '.join(reasons)}; it has {', '.join(map(str, present))}"
    chosen = [step for step in wanted if step in present]
    if not chosen:
        raise ConfigurationError(note)
    return chosen, note


def listed(steps: Sequence[int]) -> str:
    """``step 1000`` or ``steps 1000, 2000 and 3000``."""
    if len(steps) == 1:
        return f"step {steps[0]}"
    return f"steps {', '.join(map(str, steps[:-1]))} and {steps[-1]}"
