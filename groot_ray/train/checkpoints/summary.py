"""The summary of a finished run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from groot_ray.storage import Location
from groot_ray.storage.manifest import FileRecord
from groot_ray.train.checkpoints.run_folder import RunFolder, Saved


@dataclass(frozen=True)
class FinetuneSummary:
    """The result of a run.

    Attributes:
        step: its last step, whose checkpoint is `checkpoint`.
        checkpoints: steps of all its checkpoints.
        weights: hash of the last weights; see `weights_hash`.
        files: files of the last checkpoint, relative to `output`.
        history: the log lines.
        already_done: the run was already complete.
    """

    output: Location
    step: int
    checkpoint: Location
    checkpoints: list[int]
    weights: str
    files: list[FileRecord] = field(repr=False)
    history: list[dict[str, Any]] = field(repr=False)
    already_done: bool = False

    @property
    def first_loss(self) -> float:
        """Mean loss of the first logged steps."""
        return float(self.history[0]["loss"])

    @property
    def last_loss(self) -> float:
        """Mean loss of the last logged steps."""
        return float(self.history[-1]["loss"])


def summarize(run: RunFolder, last: Saved, already_done: bool = False) -> FinetuneSummary:
    """The summary of a run that ended with the checkpoint `last`."""
    made = last.manifest.made
    state = (last.folder / "trainer_state.json").read_json()
    return FinetuneSummary(
        run.output,
        last.step,
        last.folder,
        [saved.step for saved in run.checkpoints()],
        made["weights"],
        [replace(FileRecord(**file), path=f"{last.folder.name}/{file['path']}") for file in made["files"]],
        state["log_history"],
        already_done,
    )
