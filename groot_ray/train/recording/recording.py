"""The first worker's tasks: save checkpoints, feed trackers, report to the launcher, watch for stop requests."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from groot_ray.dataset.groot import layout
from groot_ray.embodiment.images import camera_images, write_images
from groot_ray.experiment.keys import digest
from groot_ray.storage import Location
from groot_ray.storage.lease import Lease
from groot_ray.train.checkpoints.checkpoint import Snapshot, take_snapshot
from groot_ray.train.checkpoints.experiment_cfg import write_experiment_cfg
from groot_ray.train.checkpoints.run_folder import RunFolder
from groot_ray.train.checkpoints.saver import Saver
from groot_ray.train.plan import FinetunePlan
from groot_ray.train.recording.stop_watch import StopWatch
from groot_ray.train.recording.trackers import WANDB_CONFIG, TensorBoard, Tracker, WeightsAndBiases, each
from groot_ray.train.start.parts import Parts, identity
from groot_ray.train.step.loop import Kind, LoopOptions, TrainState
from groot_ray.train.step.parallel import TrainingTensors

Send = Callable[[dict[str, Any]], None]


class Recording(Protocol):
    """Records the output of a run; closed at its end."""

    def save(self, kind: Kind, state: TrainState, tensors: TrainingTensors | None) -> None:
        """Start saving a checkpoint; `tensors` is the first worker's snapshot, None on other workers."""
        ...

    def log(self, line: dict[str, Any]) -> None:
        """Record the numbers of a log line."""
        ...

    def stop_asked(self) -> bool:
        """Whether the user wants the run to stop."""
        ...

    def saving(self) -> bool:
        """Whether a checkpoint is still being written."""
        ...

    def wait(self) -> None:
        """Wait until all checkpoints are committed; raises the error of a failed one."""
        ...

    def close(self) -> None:
        """Stop threads and trackers."""
        ...


class NoRecording:
    """Records nothing, for all workers but the first."""

    def save(self, kind: Kind, state: TrainState, tensors: TrainingTensors | None) -> None:
        """Do nothing."""

    def log(self, line: dict[str, Any]) -> None:
        """Do nothing."""

    def stop_asked(self) -> bool:
        """Always False: only the first worker knows."""
        return False

    def saving(self) -> bool:
        """Always False: only the first worker knows."""
        return False

    def wait(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class FirstRecording:
    """The first worker's recording."""

    def __init__(
        self,
        plan: FinetunePlan,
        lease: Lease,
        parts: Parts,
        run: RunFolder,
        options: LoopOptions,
        resumed: int,
        send: Send,
    ) -> None:
        self._plan = plan
        self._parts = parts
        self._options = options
        self._send = send
        self._stack = ExitStack()
        with ExitStack() as opened:
            self._trackers = _trackers(plan, parts, resumed)
            opened.callback(each, self._trackers, "close")
            self._saver = self._make_saver(run, lease)
            opened.callback(self._saver.close)
            self._watch = StopWatch(run, lease)
            opened.callback(self._watch.close)
            self._stack = opened.pop_all()

    def save(self, kind: Kind, state: TrainState, tensors: TrainingTensors | None) -> None:
        """Start saving this step; waits for the last checkpoint of a run."""
        assert tensors is not None
        self._saver.save(take_snapshot(kind, tensors, state, self._options))
        if state.step == self._options.max_steps:
            self._saver.wait()

    def log(self, line: dict[str, Any]) -> None:
        """Pass a log line to the trackers and the launcher."""
        each(self._trackers, "log", line)
        self._send({"kind": "line", **line})

    def stop_asked(self) -> bool:
        """See `Recording`; returns at once."""
        return self._watch.asked()

    def saving(self) -> bool:
        """See `Recording`."""
        return self._saver.busy

    def wait(self) -> None:
        """See `Recording`."""
        self._saver.wait()

    def close(self) -> None:
        """See `Recording`."""
        self._stack.close()

    def _make_saver(self, run: RunFolder, lease: Lease) -> Saver:
        training = self._plan.training
        return Saver(
            run,
            digest(identity(self._parts, self._plan)),
            self._parts.network.config,
            self._write_companions,
            lease,
            self._plan.cache_folder,
            training.save_total_limit,
            training.keep_steps,
            self._committed,
        )

    def _write_companions(self, folder: Path) -> None:
        """Write what serving needs besides the weights, and the record of the checkpoint's origin."""
        parts, output = self._parts, self._plan.output
        parts.processor.save(folder)
        write_experiment_cfg(folder, parts.record, parts.network.config, parts.processor)
        described = parts.dataset.path / layout.EMBODIMENT
        if described.is_file():
            shutil.copyfile(described, folder / "embodiment.json")
        dataset = parts.dataset
        write_images(folder, camera_images(dataset.modality.video, dataset.features, dataset.embodiment))
        if self._plan.training.use_wandb and (output / WANDB_CONFIG).exists():
            (output / WANDB_CONFIG).download(folder / WANDB_CONFIG)

    def _committed(self, snapshot: Snapshot, folder: Location) -> None:
        each(self._trackers, "flush")
        self._send({"kind": "saved", "checkpoint": snapshot.kind, "step": snapshot.step, "folder": folder.uri})


def _trackers(plan: FinetunePlan, parts: Parts, resumed: int) -> list[Tracker]:
    trackers: list[Tracker] = [TensorBoard(plan.output, resumed)]
    if plan.training.use_wandb:
        name = plan.training.experiment_name
        trackers.append(WeightsAndBiases(plan.output, plan.training.wandb_project, name, identity(parts, plan)))
    return trackers
