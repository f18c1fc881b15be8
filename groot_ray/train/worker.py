"""One training worker from its plan to the last checkpoint; every worker of a run does the same, the first also records."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch

from groot_ray.train.assemble import FinetunePlan, Parts, identity, loop_options, put_together, resume
from groot_ray.train.checkpoints.run_folder import RunFolder, Saved
from groot_ray.train.order.phases import Phase
from groot_ray.train.order.sampler import BatchPlan
from groot_ray.train.recording import FirstRecording, NoRecording, Recording
from groot_ray.train.start import tell_what_trains
from groot_ray.train.step.batches import Prefetched
from groot_ray.train.step.collective import Collective, first_does
from groot_ray.train.step.control import Control
from groot_ray.train.step.device import Feed, training_device
from groot_ray.train.step.loop import Kind, LoopOptions, Trainer, TrainState
from groot_ray.train.step.optimizer import build_adamw
from groot_ray.train.step.parallel import wrap
from groot_ray.train.step.samples import SampleMaker, flow_noise

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Host:
    """What a worker is told by whoever started it.

    Args:
        gpu: number of this worker's GPU; None for the CPU.
        threads: CPU threads that torch may use.
        tell: passes an event to the launcher; called on the first worker.
        preempted: whether this machine is about to be taken away; called on all workers at the same steps.
        saved: called on all workers after each checkpoint.
    """

    gpu: int | None = None
    threads: int = 1
    tell: Callable[[dict[str, Any]], None] = lambda event: None
    preempted: Callable[[], bool] = lambda: False
    saved: Callable[[dict[str, Any]], None] = lambda metrics: None


def train_worker(plan: FinetunePlan, collective: Collective, host: Host) -> None:
    """Train until the run's last step.

    Raises:
        StoppedError: a person asked for it; a checkpoint was saved.
        ConfigurationError, DataError: options, model and dataset do not fit each other.
    """
    torch.set_num_threads(host.threads)
    training, first = plan.training, collective.rank == 0
    batch_plan = BatchPlan(training.global_batch_size, collective.world_size, training.gradient_accumulation_steps)
    parts = put_together(plan, training_device(host.gpu))
    optimizer = build_adamw(parts.model, training.learning_rate, training.weight_decay)
    run = RunFolder(plan.output)
    phases, newest = first_does(collective, lambda: _enter(run, parts, plan))
    options = loop_options(training, phases)
    state = TrainState()
    if newest is not None:
        state = resume(newest, parts.model, optimizer, options, plan.cache_folder, collective)
    maker = _sample_maker(plan, parts, batch_plan, collective)
    recording: Recording = NoRecording()
    if first:
        _tell_start(
            parts, [batch_plan.describe(), _describe_data(maker, options), _describe_arithmetic(parts, collective)]
        )
        if newest is not None:
            log.info("going on from step %d (%s)", state.step, newest.folder.uri)
        host.tell({"kind": "begin", "step": state.step})
        recording = FirstRecording(plan, parts, optimizer, run, options, state.step, host.tell)
    with closing(recording):
        _train(plan, parts, optimizer, options, state, maker, recording, collective, host)
    collective.decide(None)  # nobody leaves before the last checkpoint is committed


def _train(
    plan: FinetunePlan,
    parts: Parts,
    optimizer: torch.optim.Optimizer,
    options: LoopOptions,
    state: TrainState,
    maker: SampleMaker,
    recording: Recording,
    collective: Collective,
    host: Host,
) -> None:
    """The loop, with the loader's threads running ahead of it."""
    training = plan.training

    def save(kind: Kind, state: TrainState) -> None:
        recording.save(kind, state)
        host.saved(dict(state.history[-1]) if state.history else {"step": state.step})

    model = wrap(parts.model, collective, unused_parameters=training.tune_llm or training.tune_visual)
    control = Control(collective, recording.stop_asked, host.preempted, recording.saving, training.recovery_interval)
    feed = Feed(parts.precision.device)
    batches = Prefetched(
        maker,
        feed,
        state.step,
        options.max_steps,
        training.gradient_accumulation_steps,
        training.dataloader_num_workers,
    )
    with closing(batches):
        trainer = Trainer(
            model, optimizer, batches, options, state, collective, parts.precision, control, save, recording.log
        )
        try:
            trainer.run()
        finally:
            recording.wait()


def _enter(run: RunFolder, parts: Parts, plan: FinetunePlan) -> tuple[list[Phase], Saved | None]:
    """The first worker's entry into the run's folder: what it is, how far it has come, what goes on from where."""
    plan.lease.check()
    run.pin(identity(parts, plan))
    run.sweep()
    phases = run.plan_phases(plan.training.max_steps)
    return phases, run.newest()


def _sample_maker(plan: FinetunePlan, parts: Parts, batch_plan: BatchPlan, collective: Collective) -> SampleMaker:
    record = parts.record
    return SampleMaker(
        parts.dataset,
        record.modality_configs,
        record.tag,
        parts.processor,
        flow_noise(parts.model.config),
        batch_plan,
        plan.training.seed,
        collective.rank,
        plan.training.tail,
    )


def _tell_start(parts: Parts, more: list[str]) -> None:
    """What a person may want to know before the first step."""
    for note in [*parts.notes, *more, *tell_what_trains(parts.model, parts.flags)]:
        log.info("%s", note)


def _describe_data(maker: SampleMaker, options: LoopOptions) -> str:
    passes = options.max_steps * options.global_batch_size / maker.order.size
    return f"{maker.order.size:,} samples in the dataset; {options.max_steps:,} steps draw each {passes:.3g} times"


def _describe_arithmetic(parts: Parts, collective: Collective) -> str:
    device = parts.precision.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    workers = "1 worker" if collective.world_size == 1 else f"{collective.world_size} workers"
    return f"{workers} on {name}, {'bf16 autocast' if parts.precision.autocast else 'float32'}"
