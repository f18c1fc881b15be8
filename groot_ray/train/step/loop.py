"""The training loop: steps, log lines, and when to save. Independent of Ray, storage and the source of batches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch

from groot_ray.errors import DataError, StoppedError
from groot_ray.train.order.noise import dropout_seed
from groot_ray.train.order.phases import Phase, scheduled_rate
from groot_ray.train.step.collective import Collective
from groot_ray.train.step.control import Control
from groot_ray.train.step.device import Precision, peak_flops
from groot_ray.train.step.learner import Learner
from groot_ray.train.step.loader import MicroBatch

Kind = Literal["checkpoint", "recovery"]


@dataclass(frozen=True)
class LoopOptions:
    """The loop's share of a run's options."""

    seed: int
    global_batch_size: int
    phases: Sequence[Phase]
    learning_rate: float
    warmup_ratio: float
    max_grad_norm: float
    logging_steps: int
    save_steps: int
    keep_steps: frozenset[int] = frozenset()

    @property
    def max_steps(self) -> int:
        """The last step of the run."""
        return self.phases[-1].max_steps

    def saves_at(self, step: int) -> bool:
        """Whether a regular checkpoint is due at `step`."""
        return step % self.save_steps == 0 or step in self.keep_steps or step == self.max_steps


@dataclass
class TrainState:
    """The state of a run besides weights and optimizer.

    Attributes:
        step: number of finished optimizer steps.
        history: the log lines.
        window: losses of the steps since the last log line.
    """

    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    window: list[float] = field(default_factory=list)


class Batches(Protocol):
    """The source of the loop's micro-batches."""

    @property
    def waited(self) -> float:
        """Seconds that the loop has waited so far."""
        ...

    def next_step(self) -> list[MicroBatch]:
        """The micro-batches of the next step, on the training device."""
        ...


class Trainer:
    """Takes optimizer steps until `max_steps`, or until it is asked to stop.

    Args:
        learner: the network in training, with each part already in its training or evaluation mode. Its model is called
            as ``model(inputs, **draws)`` and returns ``loss_sum``, float [], the sum of squared errors over valid
            elements.
        batches: starts with the micro-batches of step `state.step`.
        save: called on every worker with the kind of checkpoint and the state.
        log: called on every worker with the numbers of each log line.
    """

    def __init__(
        self,
        learner: Learner,
        batches: Batches,
        options: LoopOptions,
        state: TrainState,
        collective: Collective,
        precision: Precision,
        control: Control,
        save: Callable[[Kind, TrainState], None],
        log: Callable[[dict[str, Any]], None],
    ) -> None:
        self.learner = learner
        self.batches = batches
        self.options = options
        self.state = state
        self.collective = collective
        self.precision = precision
        self.control = control
        self._save = save
        self._log = log
        self._losses: list[torch.Tensor] = []
        self._norm = torch.zeros(())
        self._rate = 0.0
        self._begun = (time.perf_counter(), batches.waited, state.step)

    def run(self) -> None:
        """Train.

        Raises:
            StoppedError: a stop was requested; a checkpoint has been saved.
            DataError: the loss is not finite.
        """
        while self.state.step < self.options.max_steps:
            self._take_step(self.batches.next_step())
            self.state.step += 1
            self._after_step()

    def _take_step(self, micro_batches: list[MicroBatch]) -> None:
        options, step = self.options, self.state.step
        # The loss is a mean over the valid elements of the global batch, so their count is needed before the backward
        # pass.
        valid = torch.tensor(sum(batch.mask_sum for batch in micro_batches), dtype=torch.float64)
        valid = self.collective.sum(valid.to(self.precision.device)) + 1e-6
        # The workers' gradients are averaged; the factor world_size turns that into their sum.
        scale = (self.collective.world_size / valid).float()
        loss = torch.zeros((), dtype=torch.float64, device=self.precision.device)
        for micro, batch in enumerate(micro_batches):
            torch.manual_seed(dropout_seed(options.seed, step, micro, self.collective.rank))
            last = micro == len(micro_batches) - 1
            loss += self.learner.accumulate(batch, scale, self.precision, last)
        self._rate = scheduled_rate(step, options.phases, options.learning_rate, options.warmup_ratio)
        self._norm = self.learner.update(self._rate, options.max_grad_norm)
        self._losses.append(loss / valid)

    def _after_step(self) -> None:
        """Log, save and stop if due."""
        step, options = self.state.step, self.options
        wish = self.control.look(step)
        if step % options.logging_steps == 0 or step == options.max_steps:
            self._log(self._line())
        due = options.saves_at(step)
        if due or wish.save or wish.stop:
            self._gather_losses()
            self._save("checkpoint" if due or wish.stop else "recovery", self.state)
            self.control.saved()
        if wish.stop and step < options.max_steps:
            raise StoppedError(
                f"stopped after step {step} of {options.max_steps}; a checkpoint was saved, "
                "run the same command to continue"
            )

    def _line(self) -> dict[str, Any]:
        """The numbers of a log line; starts a new window of losses and times."""
        self._gather_losses()
        begun, waited, first = self._begun
        self._begun = (time.perf_counter(), self.batches.waited, self.state.step)
        seconds = max(self._begun[0] - begun, 1e-9)
        line = {
            "step": self.state.step,
            "loss": math.fsum(self.state.window) / len(self.state.window),
            "learning_rate": self._rate,
            "grad_norm": float(self._norm),
            "samples_per_second": (self.state.step - first) * self.options.global_batch_size / seconds,
            "data_wait": min((self.batches.waited - waited) / seconds, 1.0),
        }
        line |= self._hardware(line["samples_per_second"])
        self.state.window = []
        self.state.history.append(line)
        return line

    def _hardware(self, samples_per_second: float) -> dict[str, float]:
        """Peak GPU memory in GiB, and MFU: counted operations of forward and backward pass over the GPU's bf16 peak."""
        device = self.precision.device
        if device.type != "cuda":
            return {}
        numbers = {"memory_gib": torch.cuda.max_memory_allocated(device) / 2**30}
        peak, flops = peak_flops(device), self.learner.flops
        if peak is not None and flops is not None:
            numbers["mfu"] = flops * samples_per_second / self.collective.world_size / peak
        return numbers

    def _gather_losses(self) -> None:
        """Move the losses since the last call from the workers' devices into the window."""
        if not self._losses:
            return
        losses = self.collective.sum(torch.stack(self._losses)).tolist()
        first = self.state.step - len(losses) + 1
        self._losses = []
        for step, loss in enumerate(losses, first):
            if not math.isfinite(loss):
                raise DataError(
                    f"the loss of step {step} is {loss}; lower learning_rate, or look for extreme values in the "
                    "dataset's statistics"
                )
            self.state.window.append(loss)
