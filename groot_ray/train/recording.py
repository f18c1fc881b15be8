"""What only the first worker does: save checkpoints, keep the trackers, tell the launcher, watch for requests to stop."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import torch

from groot_ray.dataset.groot import layout
from groot_ray.experiment.keys import digest
from groot_ray.storage import Location
from groot_ray.train.assemble import FinetunePlan, Parts, identity
from groot_ray.train.checkpoints.checkpoint import Snapshot, take_snapshot
from groot_ray.train.checkpoints.experiment_cfg import write_experiment_cfg
from groot_ray.train.checkpoints.run_folder import RunFolder
from groot_ray.train.checkpoints.saver import Saver
from groot_ray.train.step.loop import Kind, LoopOptions, TrainState
from groot_ray.train.step.stop_watch import StopWatch
from groot_ray.train.trackers import WANDB_CONFIG, TensorBoard, Tracker, WeightsAndBiases, each

Tell = Callable[[dict[str, Any]], None]


class Recording(Protocol):
    """Keeps what a training produces; used as a context manager."""

    def save(self, kind: Kind, state: TrainState) -> None: ...

    def log(self, line: dict[str, Any]) -> None: ...

    def stop_asked(self) -> bool: ...

    def saving(self) -> bool: ...

    def wait(self) -> None: ...

    def close(self) -> None: ...


class NoRecording:
    """Of the workers that are not the first."""

    def save(self, kind: Kind, state: TrainState) -> None:
        return None

    def log(self, line: dict[str, Any]) -> None:
        return None

    def stop_asked(self) -> bool:
        return False

    def saving(self) -> bool:
        return False

    def wait(self) -> None:
        return None

    def close(self) -> None:
        return None


class FirstRecording:
    """Of the first worker."""

    def __init__(
        self,
        plan: FinetunePlan,
        parts: Parts,
        optimizer: torch.optim.Optimizer,
        run: RunFolder,
        options: LoopOptions,
        resumed: int,
        tell: Tell,
    ) -> None:
        self._plan = plan
        self._parts = parts
        self._optimizer = optimizer
        self._options = options
        self._tell = tell
        self._stack = ExitStack()
        with ExitStack() as opened:
            self._trackers = _trackers(plan, parts, resumed)
            opened.callback(each, self._trackers, "close")
            self._saver = self._make_saver(run)
            opened.callback(self._saver.close)
            self._watch = StopWatch(run, plan.lease)
            opened.callback(self._watch.close)
            self._stack = opened.pop_all()

    def save(self, kind: Kind, state: TrainState) -> None:
        """Begin to save a copy of this step, when the one before is committed; the last checkpoint of a run is waited for."""
        self._saver.wait()  # no two copies in memory
        self._saver.save(take_snapshot(kind, self._parts.model, self._optimizer, state, self._options))
        if state.step == self._options.max_steps:
            self._saver.wait()

    def log(self, line: dict[str, Any]) -> None:
        """Pass a log line on."""
        each(self._trackers, "log", line)
        self._tell({"kind": "line", **line})

    def stop_asked(self) -> bool:
        """Whether a person wants the run to stop."""
        return self._watch.asked()

    def saving(self) -> bool:
        """Whether a checkpoint is still being written."""
        return self._saver.busy

    def wait(self) -> None:
        """Wait until all that was saved is committed; raises what went wrong."""
        self._saver.wait()

    def close(self) -> None:
        """End all threads and trackers."""
        self._stack.close()

    def _make_saver(self, run: RunFolder) -> Saver:
        training = self._plan.training
        return Saver(
            run,
            digest(identity(self._parts, self._plan)),
            self._parts.model,
            self._write_companions,
            self._plan.lease,
            self._plan.cache_folder,
            training.save_total_limit,
            training.keep_steps,
            self._committed,
        )

    def _write_companions(self, folder: Path) -> None:
        """What a checkpoint needs beside the weights to be served, and to say where it came from."""
        parts, output = self._parts, self._plan.output
        parts.processor.save(folder)
        write_experiment_cfg(folder, parts.record, parts.model.config, parts.processor)
        described = parts.dataset.path / layout.EMBODIMENT
        if described.is_file():
            shutil.copyfile(described, folder / "embodiment.json")
        if self._plan.training.use_wandb and (output / WANDB_CONFIG).exists():
            (output / WANDB_CONFIG).download(folder / WANDB_CONFIG)

    def _committed(self, snapshot: Snapshot, folder: Location) -> None:
        each(self._trackers, "flush")
        self._tell({"kind": "saved", "checkpoint": snapshot.kind, "step": snapshot.step, "folder": folder.uri})


def _trackers(plan: FinetunePlan, parts: Parts, resumed: int) -> list[Tracker]:
    trackers: list[Tracker] = [TensorBoard(plan.output, resumed)]
    if plan.training.use_wandb:
        name = plan.training.experiment_name
        trackers.append(WeightsAndBiases(plan.output, plan.training.wandb_project, name, identity(parts, plan)))
    return trackers
