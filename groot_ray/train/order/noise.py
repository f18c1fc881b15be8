"""All randomness in training, as pure functions of the seed and the position in the run.

A sample's noise, time and augmentation depend on (seed, step, position in the global batch). The number of workers,
loader threads or micro-batches and restarts do not change them. Dropout depends on (seed, step, micro-batch, rank).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from groot_ray.train.order.permutation import combine

Stream = Literal["noise", "augmentation"]
_STREAMS: dict[Stream, int] = {"noise": 0, "augmentation": 1}


def sample_generator(seed: int, step: int, position: int, stream: Stream) -> np.random.Generator:
    """Random generator of one sample; `stream` separates its noise from its augmentation."""
    return np.random.default_rng([seed % 2**64, step, position, _STREAMS[stream]])


def dropout_seed(seed: int, step: int, micro: int, rank: int) -> int:
    """Seed of torch's generator before a micro-batch's forward pass, 63 bits."""
    return combine(seed, step, micro, rank) >> 1
