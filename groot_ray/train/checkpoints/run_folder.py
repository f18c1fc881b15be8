"""A run's folder in storage: its identity, its phases, its checkpoints, and what of them is kept.

    run.json                 what the run trains, on what, with which options; created once
    phases/1.json ...        the learning rate's phases, one more for each change of max_steps
    checkpoint-<step>/       for people and serving; newest `save_total_limit`, and `keep_steps`
    recovery/step-<step>/    only for going on after a failure; two at most, none once the run is done
    stop.json                a person's request to save and stop

A checkpoint counts when its manifest.json is there, which is written last and removed first.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from groot_ray.errors import ConfigurationError
from groot_ray.storage import Location
from groot_ray.storage.manifest import MANIFEST, Manifest, read_manifest
from groot_ray.train.order.phases import Phase, next_phases

log = logging.getLogger(__name__)

RUN, PHASES, RECOVERY, STOP = "run.json", "phases", "recovery", "stop.json"
RECOVERY_KEPT = 2
OPTIMIZERS_KEPT = 2
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_RECOVERY = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class Saved:
    """A committed checkpoint; `resume` are its files that only going on needs, which older checkpoints lose."""

    kind: Literal["checkpoint", "recovery"]
    step: int
    folder: Location
    manifest: Manifest

    @property
    def resume(self) -> list[str]:
        """Names of the files that only going on needs."""
        return list(self.manifest.made.get("resume", []))


class RunFolder:
    """The folder of one run, and nothing of what is in its checkpoints."""

    def __init__(self, output: Location) -> None:
        self.output = output

    def checkpoint(self, step: int) -> Location:
        """Where the checkpoint of a step belongs."""
        return self.output / f"checkpoint-{step}"

    def recovery(self, step: int) -> Location:
        """Where the recovery checkpoint of a step belongs."""
        return self.output / RECOVERY / f"step-{step}"

    # Identity and phases.

    def pin(self, identity: dict[str, Any]) -> None:
        """Write down what the run is, or check that it is the one that was written down.

        Raises:
            ConfigurationError: the folder holds another run; the sentence names what differs.
        """
        location = self.output / RUN
        if location.create_json(identity):
            return
        standing = location.read_json()
        different = differences(standing, identity)
        if different:
            raise ConfigurationError(
                f"{self.output.uri} holds a run with {'; '.join(different[:4])}{' and more' if len(different) > 4 else ''}; "
                "use another output folder, the same options, or --force to begin anew"
            )

    def phases(self) -> list[Phase]:
        """The phases so far, none before the first start."""
        found = [entry for entry in (self.output / PHASES).list(recursive=False) if entry.relative.endswith(".json")]
        numbers = sorted(int(entry.relative[:-5]) for entry in found if entry.relative[:-5].isdigit())
        return [Phase.from_json((self.output / PHASES / f"{number}.json").read_json()) for number in numbers]

    def plan_phases(self, max_steps: int) -> list[Phase]:
        """The phases of a run that is to go to `max_steps`; a new one is written down where that is a change.

        Raises:
            ConfigurationError: the run has gone further already.
        """
        newest = self.newest()
        reached = newest.step if newest else 0
        before = self.phases()
        if max_steps < reached:
            raise ConfigurationError(
                f"the run in {self.output.uri} has reached step {reached}, more than max_steps {max_steps}; raise max_steps or use another output folder"
            )
        phases = next_phases(before, reached, max_steps)
        if phases != before and not (self.output / PHASES / f"{len(phases)}.json").create_json(phases[-1].to_json()):
            return self.plan_phases(max_steps)
        return phases

    def clear(self) -> None:
        """Remove the run, to begin anew."""
        for saved in [*self.checkpoints(), *self.recoveries()]:
            self.remove(saved.folder)
        for name in (PHASES, RECOVERY, "tensorboard"):
            (self.output / name).delete_tree()
        (self.output / RUN).delete()
        self.sweep()

    # Checkpoints.

    def checkpoints(self) -> list[Saved]:
        """The committed checkpoints, by step."""
        return self._committed(self.output, _CHECKPOINT, "checkpoint")

    def recoveries(self) -> list[Saved]:
        """The committed recovery checkpoints, by step."""
        return self._committed(self.output / RECOVERY, _RECOVERY, "recovery")

    def newest(self) -> Saved | None:
        """The committed checkpoint of either kind that a run goes on from: the one of the highest step with all its files."""
        found = sorted([*self.recoveries(), *self.checkpoints()], key=lambda saved: saved.step)
        whole = (saved for saved in reversed(found) if all((saved.folder / name).exists() for name in saved.resume))
        return next(whole, None)

    def finished(self, max_steps: int) -> Saved | None:
        """The checkpoint with which a run to `max_steps` ended, if it has."""
        saved = next((saved for saved in self.checkpoints() if saved.step == max_steps), None)
        return saved if saved is not None and saved.manifest.made.get("max_steps") == max_steps else None

    def sweep(self) -> None:
        """Remove what killed saves have left: folders without a manifest. Only the holder of the run's lease may."""
        for folder in self._named(self.output, _CHECKPOINT) | self._named(self.output / RECOVERY, _RECOVERY):
            if not (folder / MANIFEST).exists():
                log.info("removing the unfinished %s", folder.uri)
                folder.delete_tree()

    def retain(self, save_total_limit: int, keep_steps: Collection[int]) -> None:
        """Remove checkpoints beyond the newest `save_total_limit` (those of `keep_steps` stay and do not count), optimizer states
        of all but the newest two, and recovery checkpoints that are superseded."""
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
        recoveries = self.recoveries()
        for saved in recoveries:
            if saved.step <= last or saved not in recoveries[-RECOVERY_KEPT:]:
                self.remove(saved.folder)

    @staticmethod
    def remove(folder: Location) -> None:
        """Remove a checkpoint; it stops counting at once, whatever happens to the rest."""
        (folder / MANIFEST).delete()
        folder.delete_tree()

    # Stopping.

    def stop_requested(self) -> bool:
        """Whether a person has asked the run to save and stop."""
        return (self.output / STOP).exists()

    def request_stop(self) -> None:
        """Ask the run to save and stop."""
        (self.output / STOP).write_json({"stop": True})

    def clear_stop(self) -> None:
        """Starting again is taking the request back."""
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


def differences(standing: Any, wanted: Any, place: str = "") -> list[str]:
    """What two pieces of plain data differ in, as ``name old, not new``."""
    if isinstance(standing, dict) and isinstance(wanted, dict):
        keys = [*standing, *(key for key in wanted if key not in standing)]
        return [
            text
            for key in keys
            for text in differences(standing.get(key), wanted.get(key), f"{place}.{key}" if place else str(key))
        ]
    return [] if standing == wanted else [f"{place} {_short(standing)}, not {_short(wanted)}"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
