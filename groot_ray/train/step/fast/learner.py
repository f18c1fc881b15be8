"""The learner of the fast step: a twin that computes, captured passes, and a fused optimizer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from groot_ray.errors import ConfigurationError
from groot_ray.model.shared.network import PolicyNetwork
from groot_ray.train.step.device import Precision
from groot_ray.train.step.fast.adamw import ClippedAdamW
from groot_ray.train.step.fast.flops import count_flops
from groot_ray.train.step.fast.graphs import CapturedPass, Gradients, compiled, eager_pass, shape_of
from groot_ray.train.step.fast.shapes import Shapes
from groot_ray.train.step.fast.twin import make_twin
from groot_ray.train.step.learner import Learner
from groot_ray.train.step.loader import MicroBatch
from groot_ray.train.step.optimizer import build_adamw
from groot_ray.train.step.parallel import Single, TrainingTensors

log = logging.getLogger(__name__)

MAX_SHAPES = 4  # each costs a compilation and the memory of its activations and gradients


class FastLearner(Learner):
    """Trains the network through its twin. Weights, moments and snapshots are those of `Learner`.

    Args:
        embodiment: see `make_twin`.
        capture: compile and capture; False runs the same step eagerly, on any device.
        demanded: raise an error where a shape cannot be captured, instead of running it eagerly.
    """

    def __init__(
        self,
        network: PolicyNetwork,
        learning_rate: float,
        weight_decay: float,
        precision: Precision,
        embodiment: int | None,
        capture: bool = True,
        demanded: bool = False,
    ) -> None:
        super().__init__(network, network, build_adamw(network, learning_rate, weight_decay), Single())
        self.twin, self.what_trains = make_twin(network, embodiment, precision.autocast)
        self._adamw = ClippedAdamW(network, self.what_trains, self.optimizer)
        self._used = [one.used for one in self.what_trains]
        self._shapes = Shapes(embodiment)
        self._forward = _without_cache(precision)
        self._regions = self.twin.regions()
        self._compiled = compiled(self._regions) if capture else None
        self._demanded = demanded
        self._captured: dict[Any, CapturedPass] = {}
        self._refused: set[Any] = set()
        self._sums: list[Tensor | None] = []
        self._adding = False
        self._gradients: Gradients = ()
        self._static = False
        self._flops: float | None = None

    @property
    def flops(self) -> float | None:
        """See `Learner`; counted at the first captured micro-batch, without padding's and the optimizer's share."""
        return self._flops

    @property
    def captured(self) -> list[CapturedPass]:
        """The captured passes, one for each shape so far."""
        return list(self._captured.values())

    def accumulate(self, batch: MicroBatch, scale: Tensor, precision: Precision, last: bool) -> Tensor:
        """See `Learner`."""
        inputs = self._shapes(batch.inputs)
        captured = self._pass(inputs, batch, scale)
        if captured is not None:
            loss, self._gradients = captured(inputs, batch.draws, scale)
        else:
            loss, self._gradients = eager_pass(self._regions, inputs, batch.draws, scale, self._used, self._forward)
        self._static = captured is not None
        if self._adding or not last:
            self._add()
        return loss.double()

    def update(self, rate: float, max_norm: float) -> Tensor:
        """See `Learner`."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if self._adding:
            norm = self._adamw.update(self._sums, rate, max_norm, static=True)
        else:
            norm = self._adamw.update(self._gradients, rate, max_norm, static=self._static)
        self._adding, self._gradients = False, ()
        return norm

    def load(self, tensors: TrainingTensors) -> None:
        """See `Learner`."""
        super().load(tensors)
        self._adamw.forget()
        with torch.no_grad():
            for one in self.what_trains:
                if one.copied:
                    one.used.copy_(one.master)

    def _add(self) -> None:
        """Add the gradients to float32 sums, as the eager step does."""
        if not self._sums:
            self._sums = [None if g is None else torch.empty_like(g, dtype=torch.float32) for g in self._gradients]
        pairs = [
            (total, gradient)
            for total, gradient in zip(self._sums, self._gradients, strict=True)
            if total is not None and gradient is not None
        ]
        totals, gradients = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        if self._adding:
            torch._foreach_add_(totals, gradients)
        else:
            torch._foreach_copy_(totals, gradients)
        self._adding = True

    def _pass(self, inputs: dict[str, Any], batch: MicroBatch, scale: Tensor) -> CapturedPass | None:
        """The captured pass for this shape, created now if it is new; None to run eagerly."""
        if self._compiled is None:
            return None
        shape = shape_of(inputs, batch.draws)
        if shape in self._captured or shape in self._refused:
            return self._captured.get(shape)
        samples, tokens = inputs["input_ids"].shape
        name = f"batches of {samples} samples with {tokens} tokens"
        refusal = _refusal(inputs, len(self._captured))
        if refusal is None:
            log.info("compiling the training step for %s; this takes minutes if it is not cached", name)
            try:
                self._count(inputs, batch, scale)
                self._captured[shape] = CapturedPass(
                    self._compiled, inputs, batch.draws, scale, self._used, self._forward
                )
                log.info("the training step for %s is ready", name)
                return self._captured[shape]
            except Exception as error:  # compilers, drivers and kernels fail in their own ways
                log.debug("capturing failed", exc_info=True)
                refusal = (
                    f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else 'no message'}"
                )
        if self._demanded:
            raise ConfigurationError(f"{name} cannot be compiled ({refusal}); set training.compile to auto or off")
        log.warning("%s train without compilation, which is slower (%s)", name, refusal)
        self._refused.add(shape)
        return None

    def _count(self, inputs: dict[str, Any], batch: MicroBatch, scale: Tensor) -> None:
        if self._flops is not None:
            return
        seed = torch.cuda.initial_seed()
        arguments = (self._regions, inputs, batch.draws, scale, self._used, self._forward)
        self._flops = count_flops(lambda: eager_pass(*arguments)) / batch.samples
        torch.cuda.manual_seed(seed)


def _refusal(inputs: dict[str, Any], captured: int) -> str | None:
    if any(isinstance(value, list) for value in inputs.values()):
        return "images of several sizes"
    if captured >= MAX_SHAPES:
        return f"{captured} other shapes are compiled already"
    return None


def _without_cache(precision: Precision) -> Callable[[], AbstractContextManager[Any]]:
    """Autocast without its cache of cast weights, which must not outlive a capture; the twin has nothing to cache."""
    return lambda: torch.autocast(
        precision.device.type, torch.bfloat16, enabled=precision.autocast, cache_enabled=False
    )
