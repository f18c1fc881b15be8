"""Creates the micro-batch of any position in the run: draws, reads, processes and collates samples, adds noise."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from groot_ray.dataset.groot.dataset import GrootDataset
from groot_ray.dataset.groot.samples import Tail
from groot_ray.train.order.noise import sample_generator
from groot_ray.train.order.sampler import BatchPlan, Draw, SampleOrder, step_draws
from groot_ray.train.step.loader import MicroBatch

if TYPE_CHECKING:
    from groot_ray.model.family import LossInputs, Processor

READERS = 8


class SampleMaker:
    """Creates the micro-batches of one worker. Thread-safe."""

    def __init__(
        self,
        dataset: GrootDataset,
        modality_configs: Mapping[str, Any],
        tag: str,
        processor: Processor,
        loss_inputs: LossInputs,
        plan: BatchPlan,
        seed: int,
        rank: int,
        tail: Tail,
    ) -> None:
        self.order = SampleOrder(sample_counts(dataset, modality_configs, tail), seed)
        self._dataset = dataset
        self._configs = modality_configs
        self._tag = tag
        self._processor = processor
        self._loss_inputs = loss_inputs
        self._plan = plan
        self._seed = seed
        self._rank = rank
        self._tail = tail

    def __call__(self, step: int, micro: int) -> MicroBatch:
        """Micro-batch number `micro` of optimizer step `step` (both from 0)."""
        draws = step_draws(self.order, self._plan, step, self._rank, micro)
        batch = self._processor.collate([self._features(step, draw) for draw in draws])
        drawn = [self._loss_inputs.draw(sample_generator(self._seed, step, draw.position, "noise")) for draw in draws]
        return MicroBatch(
            batch,
            {name: torch.from_numpy(np.stack([one[name] for one in drawn])) for name in drawn[0]},
            float(batch["action_mask"].sum(dtype=torch.float64)),
            len(draws),
        )

    def _features(self, step: int, draw: Draw) -> dict[str, Any]:
        rng = sample_generator(self._seed, step, draw.position, "augmentation")
        sample = self._dataset.sample(draw.episode, draw.start, self._configs, self._tag, rng, self._tail)
        return self._processor.process(sample, train=True, rng=rng)


def sample_counts(dataset: GrootDataset, modality_configs: Mapping[str, Any], tail: Tail) -> list[int]:
    """Number of samples of each episode, read from the parquet footers in parallel."""
    with ThreadPoolExecutor(READERS, "lengths") as threads:
        return list(threads.map(lambda p: dataset.effective_length(p, modality_configs, tail), range(len(dataset))))
