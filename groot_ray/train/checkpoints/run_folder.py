"""A run's folder in storage: its identity, phases and checkpoints, and which checkpoints are kept.

    run.json                 model, data and options of the run; created once
    phases/1.json ...        phases of the learning rate, a new one for each change of max_steps
    checkpoint-<step>/       for serving: the newest `save_total_limit`, and `keep_steps`
    recovery/step-<step>/    for resuming after a failure: at most two, none once the run is done
    stop.json                the user's request to save and stop

A checkpoint is committed by its manifest.json, which is written last and removed first. A damaged one is set aside: its
manifest becomes damaged.json, and training writes it again.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from groot_ray.differences import differences
from groot_ray.errors import ConfigurationError
from groot_ray.storage import Location
from groot_ray.storage.manifest import MANIFEST, Manifest, read_manifest
from groot_ray.train.order.phases import Phase, next_phases

log = logging.getLogger(__name__)

RUN, PHASES, RECOVERY, STOP = "run.json", "phases", "recovery", "stop.json"
DAMAGED = "damaged.json"
RECOVERY_KEPT = 2
OPTIMIZERS_KEPT = 2
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_RECOVERY = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class Saved:
    """A committed checkpoint."""

    kind: Literal["checkpoint", "recovery"]
    step: int
    folder: Location
    manifest: Manifest

    @property
    def resume(self) -> list[str]:
        """Names of the files that serve only to resume; older checkpoints lose them."""
        return list(self.manifest.made.get("resume", []))


class RunFolder:
    """The folder of one run. `checkpoint` and `saver` handle the contents of a checkpoint."""

    def __init__(self, output: Location) -> None:
        self.output = output

    def checkpoint(self, step: int) -> Location:
        """Location of a step's checkpoint."""
        return self.output / f"checkpoint-{step}"

    def recovery(self, step: int) -> Location:
        """Location of a step's recovery checkpoint."""
        return self.output / RECOVERY / f"step-{step}"

    # Identity and phases.

    def pin(self, identity: dict[str, Any]) -> None:
        """Record the run's identity, or check it against the recorded one.

        Raises:
            ConfigurationError: the folder holds another run; the message names what differs.
        """
        location = self.output / RUN
        if location.create_json(identity):
            return
        different = [str(difference) for difference in differences(location.read_json(), identity)]
        if different:
            more = " and more" if len(different) > 4 else ""
            raise ConfigurationError(
                f"{self.output.uri} holds a run with {'; '.join(different[:4])}{more}; "
                "use another output folder, the same options, or --force to start over"
            )

    def phases(self) -> list[Phase]:
        """The phases so far; empty before the first start."""
        found = [entry for entry in (self.output / PHASES).list(recursive=False) if entry.relative.endswith(".json")]
        numbers = sorted(int(entry.relative[:-5]) for entry in found if entry.relative[:-5].isdigit())
        return [Phase.from_json((self.output / PHASES / f"{number}.json").read_json()) for number in numbers]

    def plan_phases(self, max_steps: int) -> list[Phase]:
        """The phases of a run that trains until `max_steps`; records a new one if `max_steps` has changed.

        Raises:
            ConfigurationError: the run has already trained more steps.
        """
        # A damaged checkpoint counts: its steps were trained with the phases so far, and will be again.
        reached = max((saved.step for saved in self.committed()), default=0)
        before = self.phases()
        if max_steps < reached:
            raise ConfigurationError(
                f"the run in {self.output.uri} has reached step {reached}, more than max_steps {max_steps}; "
                "raise max_steps or use another output folder"
            )
        phases = next_phases(before, reached, max_steps)
        if phases != before and not (self.output / PHASES / f"{len(phases)}.json").create_json(phases[-1].to_json()):
            return self.plan_phases(max_steps)
        return phases

    def clear(self) -> None:
        """Remove the run, to start over."""
        for saved in [*self.checkpoints(), *self.recoveries()]:
            self.remove(saved.folder)
        for name in (PHASES, RECOVERY, "tensorboard"):
            (self.output / name).delete_tree()
        (self.output / RUN).delete()
        for folder in self._named(self.output, _CHECKPOINT):
            (folder / DAMAGED).delete()
        self.sweep()

    # Checkpoints.

    def checkpoints(self) -> list[Saved]:
        """The committed checkpoints, by step."""
        return self._committed(self.output, _CHECKPOINT, "checkpoint")

    def recoveries(self) -> list[Saved]:
        """The committed recovery checkpoints, by step."""
        return self._committed(self.output / RECOVERY, _RECOVERY, "recovery")

    def committed(self) -> list[Saved]:
        """The committed checkpoints of both kinds, by step."""
        return sorted([*self.recoveries(), *self.checkpoints()], key=lambda saved: saved.step)

    def resumable(self) -> Iterator[Saved]:
        """The committed checkpoints that have the files only a resume needs, the newest first."""
        for saved in reversed(self.committed()):
            if all((saved.folder / name).exists() for name in saved.resume):
                yield saved

    def newest(self) -> Saved | None:
        """The newest checkpoint to resume from, regular or recovery; its files are not compared (see `resume`)."""
        return next(self.resumable(), None)

    def set_aside(self, damaged: Saved) -> None:
        """Take a damaged checkpoint out of the run; only the holder of the run's lease may call this.

        Its manifest becomes `DAMAGED`; the folder stays until training has passed its step again.
        """
        (damaged.folder / DAMAGED).write_json(damaged.manifest.model_dump(mode="json"))
        (damaged.folder / MANIFEST).delete()

    def reached(self) -> int:
        """The step that a run resumes from; 0 for a new run."""
        newest = self.newest()
        return newest.step if newest is not None else 0

    def finished(self, max_steps: int) -> Saved | None:
        """The last checkpoint of a run of `max_steps`; None if it has not ended."""
        saved = next((saved for saved in self.checkpoints() if saved.step == max_steps), None)
        return saved if saved is not None and saved.manifest.made.get("max_steps") == max_steps else None

    def sweep(self) -> None:
        """Remove the leftovers of killed saves: folders without a manifest.

        Only the holder of the run's lease may call this.
        """
        for folder in self._named(self.output, _CHECKPOINT) | self._named(self.output / RECOVERY, _RECOVERY):
            if not (folder / MANIFEST).exists() and not (folder / DAMAGED).exists():
                log.info("removing the incomplete checkpoint %s", folder.uri)
                folder.delete_tree()

    def retain(self, save_total_limit: int, keep_steps: Collection[int]) -> None:
        """Remove superseded checkpoints.

        These are checkpoints beyond the newest `save_total_limit`, where those of `keep_steps` stay and do not count;
        the optimizer states of all but the newest two; recovery checkpoints beyond the newest two or older than a
        regular one.
        """
        checkpoints = self.checkpoints()
        limited = [saved for saved in checkpoints if saved.step not in keep_steps]
        gone = limited[: max(len(limited) - save_total_limit, 0)]
        for saved in gone:
            self.remove(saved.folder)
        left = [saved for saved in checkpoints if saved not in gone]
        for saved in left[:-OPTIMIZERS_KEPT]:
            for name in saved.resume:
                (saved.folder / name).delete()
        last = left[-1].step if left else -1
        for folder in self._named(self.output / RECOVERY, _RECOVERY):
            if (folder / DAMAGED).exists() and int(folder.name.removeprefix("step-")) <= last:
                folder.delete_tree()
        recoveries = self.recoveries()
        for saved in recoveries:
            if saved.step <= last or saved not in recoveries[-RECOVERY_KEPT:]:
                self.remove(saved.folder)

    @staticmethod
    def remove(folder: Location) -> None:
        """Remove a checkpoint; without its manifest it no longer counts, even if the rest fails."""
        (folder / MANIFEST).delete()
        folder.delete_tree()

    # Stopping.

    def stop_requested(self) -> bool:
        """Whether the user has asked the run to save and stop."""
        return (self.output / STOP).exists()

    def request_stop(self) -> None:
        """Ask the run to save and stop."""
        (self.output / STOP).write_json({"stop": True})

    def clear_stop(self) -> None:
        """Withdraw the request, as a new start of the run does."""
        (self.output / STOP).delete()

    # Inner steps.

    @staticmethod
    def _named(above: Location, pattern: re.Pattern[str]) -> set[Location]:
        return {folder for folder in above.folders() if pattern.fullmatch(folder.name)}

    def _committed(
        self, above: Location, pattern: re.Pattern[str], kind: Literal["checkpoint", "recovery"]
    ) -> list[Saved]:
        found = []
        for folder in self._named(above, pattern):
            match = pattern.fullmatch(folder.name)
            manifest = read_manifest(folder)
            if match and manifest is not None:
                found.append(Saved(kind, int(match.group(1)), folder, manifest))
        return sorted(found, key=lambda saved: saved.step)
