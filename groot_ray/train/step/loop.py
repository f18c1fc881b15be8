"""The training loop: steps, log lines, and when to save. It knows nothing of Ray, of storage or of where batches come from."""

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
from groot_ray.train.step.device import Precision
from groot_ray.train.step.loader import MicroBatch
from groot_ray.train.step.parallel import gradients_stay_here

Kind = Literal["checkpoint", "recovery"]


@dataclass(frozen=True)
class LoopOptions:
    """What the loop needs of the options of a run."""

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
        """The step that the run ends with."""
        return self.phases[-1].max_steps

    def saves_at(self, step: int) -> bool:
        """Whether a checkpoint belongs to `step`."""
        return step % self.save_steps == 0 or step in self.keep_steps or step == self.max_steps


@dataclass
class TrainState:
    """What a run remembers besides weights and optimizer.

    `step` counts finished optimizer steps; `history` holds the log lines; `window` the losses of the steps since the last line.
    """

    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    window: list[float] = field(default_factory=list)


class Batches(Protocol):
    """What the loop takes its micro-batches from."""

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
        model: with each part in the mode (training or evaluation) that it is to have; called as ``model(inputs, noise=..., time=...)``; gives ``loss_sum``, the sum of squared errors over valid elements.
        batches: gives the micro-batches of step `state.step` next.
        save: called on every worker with the kind of checkpoint and the state.
        log: called on every worker with each log line's numbers.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        batches: Batches,
        options: LoopOptions,
        state: TrainState,
        collective: Collective,
        precision: Precision,
        control: Control,
        save: Callable[[Kind, TrainState], None],
        log: Callable[[dict[str, Any]], None],
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.batches = batches
        self.options = options
        self.state = state
        self.collective = collective
        self.precision = precision
        self.control = control
        self._save = save
        self._log = log
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._losses: list[torch.Tensor] = []
        self._norm = torch.zeros(())
        self._rate = 0.0
        self._begun = (time.perf_counter(), batches.waited, state.step)

    def run(self) -> None:
        """Train.

        Raises:
            StoppedError: a person asked for it; a checkpoint has been saved.
            DataError: the loss is not finite.
        """
        while self.state.step < self.options.max_steps:
            self._take_step(self.batches.next_step())
            self.state.step += 1
            self._look_up()

    def _take_step(self, micro_batches: list[MicroBatch]) -> None:
        options, step = self.options, self.state.step
        self._rate = scheduled_rate(step, options.phases, options.learning_rate, options.warmup_ratio)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate
        # The loss is a mean over the valid elements of the whole global batch: their number is needed before the backward pass.
        valid = torch.tensor(sum(batch.mask_sum for batch in micro_batches), dtype=torch.float64)
        valid = self.collective.sum(valid.to(self.precision.device)) + 1e-6
        # Averaging gradients over workers divides by their number; the factor undoes it.
        scale = (self.collective.world_size / valid).float()
        loss = torch.zeros((), dtype=torch.float64, device=self.precision.device)
        for micro, batch in enumerate(micro_batches):
            torch.manual_seed(dropout_seed(options.seed, step, micro, self.collective.rank))
            if micro < len(micro_batches) - 1:
                with gradients_stay_here(self.model):
                    loss += self._accumulate(batch, scale)
            else:
                loss += self._accumulate(batch, scale)
        self._norm = torch.nn.utils.clip_grad_norm_(self._parameters, options.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._losses.append(loss / valid)

    def _accumulate(self, batch: MicroBatch, scale: torch.Tensor) -> torch.Tensor:
        with self.precision.forward():
            result = self.model(batch.inputs, noise=batch.noise, time=batch.time)
        (result["loss_sum"] * scale).backward()
        return result["loss_sum"].detach().double()

    def _look_up(self) -> None:
        """After a step: log, save and stop where that is due."""
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
                f"stopped after step {step} of {options.max_steps}; a checkpoint was saved, the same command goes on from it"
            )

    def _line(self) -> dict[str, Any]:
        """The numbers of a log line; the window of losses and times starts anew."""
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
        self.state.window = []
        self.state.history.append(line)
        return line

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
                    f"the loss of step {step} is {loss}; lower learning_rate, or look for extreme values in the dataset's statistics"
                )
            self.state.window.append(loss)
