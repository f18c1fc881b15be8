"""One training worker, from the plan to the last checkpoint.

Every worker of a run does the same; the first also records.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from groot_ray.experiment.schema import TrainingOptions
from groot_ray.machine_memory import out_of_memory
from groot_ray.model.shared.tags import tag_value
from groot_ray.storage import mirror
from groot_ray.storage.committed import checked_mirror
from groot_ray.storage.lease import Lease
from groot_ray.train.checkpoints.checkpoint import read_training
from groot_ray.train.checkpoints.resume import choose_checkpoint
from groot_ray.train.checkpoints.run_folder import RunFolder, Saved
from groot_ray.train.order.phases import Phase
from groot_ray.train.order.sampler import BatchPlan
from groot_ray.train.plan import FinetunePlan
from groot_ray.train.recording.recording import FirstRecording, NoRecording, Recording
from groot_ray.train.start.memory import check_worker
from groot_ray.train.start.model import describe_what_trains
from groot_ray.train.start.parts import Parts, identity, put_together
from groot_ray.train.step.batches import Prefetched
from groot_ray.train.step.collective import Collective, first_does
from groot_ray.train.step.control import LOOK_SECONDS, Control
from groot_ray.train.step.device import Feed, training_device
from groot_ray.train.step.fast.choose import choose_learner
from groot_ray.train.step.learner import Learner
from groot_ray.train.step.loop import Kind, LoopOptions, Trainer, TrainState
from groot_ray.train.step.samples import SampleMaker

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Host:
    """What a worker gets from the code that starts it.

    Attributes:
        lease: the right to write into the run's folder, checked before each commit.
        gpu: number of this worker's GPU; None for the CPU.
        threads: CPU threads that torch may use.
        send: sends an event to the launcher; called on the first worker.
        preempted: returns whether this machine is about to be preempted; called on all workers at the same steps.
        saved: called on all workers after each checkpoint.
        stop: returns whether to save and stop; called on the first worker, must return at once.
    """

    lease: Lease
    gpu: int | None = None
    threads: int = 1
    send: Callable[[dict[str, Any]], None] = lambda event: None
    preempted: Callable[[], bool] = lambda: False
    saved: Callable[[dict[str, Any]], None] = lambda metrics: None
    stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Start:
    """A worker that is ready to train: its learner, data, and start state."""

    plan: FinetunePlan
    parts: Parts
    learner: Learner
    maker: SampleMaker
    options: LoopOptions
    state: TrainState


@out_of_memory("lower training.global_batch_size, or raise training.gradient_accumulation_steps")
def train_worker(plan: FinetunePlan, collective: Collective, host: Host) -> None:
    """Train until the run's last step.

    Raises:
        StoppedError: a stop was requested; a checkpoint was saved.
        ConfigurationError, DataError: options, model and dataset do not fit each other.
    """
    torch.set_num_threads(host.threads)
    check_worker(plan)
    training = plan.training
    batch_plan = BatchPlan(training.global_batch_size, collective.world_size, training.gradient_accumulation_steps)
    parts = put_together(plan, training_device(host.gpu))
    embodiment = parts.processor.embodiment_ids[tag_value(parts.record.tag, parts.processor.embodiment_ids)]
    # The order matters: build, wrap, create the optimizer, load. See `parallel`.
    learner = choose_learner(parts.network, training, parts.precision, collective, embodiment, plan.cache_folder)
    run = RunFolder(plan.output)
    phases, newest = first_does(collective, lambda: _enter(run, parts, plan, host.lease))
    options = loop_options(training, phases)
    state = TrainState()
    if newest is not None:
        state = resume(newest, learner, options, plan.cache_folder, collective)
    start = Start(plan, parts, learner, _sample_maker(plan, parts, batch_plan, collective), options, state)
    recording: Recording = NoRecording()
    if collective.rank == 0:
        _log_start(start, batch_plan, collective, newest)
        host.send({"kind": "begin", "step": state.step})
        recording = FirstRecording(plan, host.lease, parts, run, options, state.step, host.send)
    with closing(recording):
        _train(start, recording, collective, host)
    collective.decide(None)  # no worker leaves before the last checkpoint is committed


def _train(start: Start, recording: Recording, collective: Collective, host: Host) -> None:
    """Run the loop, with the loader's threads ahead of it."""
    training, learner, parts = start.plan.training, start.learner, start.parts

    def save(kind: Kind, state: TrainState) -> None:
        recording.wait()  # never two copies in memory
        recording.save(kind, state, learner.snapshot())
        host.saved(dict(state.history[-1]) if state.history else {"step": state.step})

    control = Control(
        collective,
        lambda: recording.stop_asked() or host.stop(),
        host.preempted,
        recording.saving,
        training.recovery_interval,
        LOOK_SECONDS if collective.world_size > 1 else 0.1,  # alone, a decision costs nothing
    )
    batches = Prefetched(
        start.maker,
        Feed(parts.precision.device),
        start.state.step,
        start.options.max_steps,
        training.gradient_accumulation_steps,
        training.dataloader_num_workers,
    )
    with closing(batches):
        trainer = Trainer(
            learner,
            batches,
            start.options,
            start.state,
            collective,
            parts.precision,
            control,
            save,
            recording.log,
        )
        try:
            trainer.run()
        finally:
            recording.wait()


def _enter(run: RunFolder, parts: Parts, plan: FinetunePlan, lease: Lease) -> tuple[list[Phase], Saved | None]:
    """Open the run's folder on the first worker: returns its phases and the checkpoint to resume from."""
    lease.check()
    run.pin(identity(parts, plan))
    run.sweep()
    phases = run.plan_phases(plan.training.max_steps)
    return phases, choose_checkpoint(run, plan.cache_folder)


def loop_options(training: TrainingOptions, phases: list[Phase]) -> LoopOptions:
    """The loop's share of the options."""
    return LoopOptions(
        seed=training.seed,
        global_batch_size=training.global_batch_size,
        phases=phases,
        learning_rate=training.learning_rate,
        warmup_ratio=training.warmup_ratio,
        max_grad_norm=training.max_grad_norm,
        logging_steps=training.logging_steps,
        save_steps=training.save_steps,
        keep_steps=frozenset(training.keep_steps),
    )


def resume(saved: Saved, learner: Learner, options: LoopOptions, cache: Path, collective: Collective) -> TrainState:
    """Load a checkpoint on every worker and return its state; removes the local copy of one in S3 afterwards."""
    # The first worker has compared the files on its machine when it chose the checkpoint.
    fetch = mirror if collective.rank == 0 else checked_mirror
    folder = fetch(saved.folder, cache)
    tensors, state = read_training(folder, learner.trained, options)
    learner.load(tensors)
    collective.decide(None)  # all workers have read it
    if not saved.folder.is_local:
        shutil.rmtree(folder, ignore_errors=True)
    return state


def _sample_maker(plan: FinetunePlan, parts: Parts, batch_plan: BatchPlan, collective: Collective) -> SampleMaker:
    record = parts.record
    return SampleMaker(
        parts.dataset,
        record.modality_configs,
        record.tag,
        parts.processor,
        parts.network.config.loss_inputs,
        batch_plan,
        plan.training.seed,
        collective.rank,
        plan.training.tail,
    )


def _log_start(start: Start, batch_plan: BatchPlan, collective: Collective, newest: Saved | None) -> None:
    """Log what is worth knowing before the first step."""
    parts = start.parts
    lines = [
        *parts.notes,
        batch_plan.describe(),
        _describe_data(start.maker, start.options),
        _describe_arithmetic(parts, collective),
        *describe_what_trains(parts.network, parts.flags),
    ]
    for line in lines:
        log.info("%s", line)
    if newest is not None:
        log.info("resuming from step %d (%s)", start.state.step, newest.folder.uri)


def _describe_data(maker: SampleMaker, options: LoopOptions) -> str:
    passes = options.max_steps * options.global_batch_size / maker.order.size
    return f"{maker.order.size:,} samples in the dataset; {options.max_steps:,} steps draw each {passes:.3g} times"


def _describe_arithmetic(parts: Parts, collective: Collective) -> str:
    device = parts.precision.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    workers = "1 worker" if collective.world_size == 1 else f"{collective.world_size} workers"
    return f"{workers} on {name}, {'bf16 autocast' if parts.precision.autocast else 'float32'}"
