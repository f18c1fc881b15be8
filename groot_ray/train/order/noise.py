"""Everything random in training, as pure functions of the seed and of where in the run it is needed.

A sample's noise, time and augmentation depend on (seed, step, position in the global batch): they do not change with the number of
workers, loader threads or micro-batches, nor by a restart. Dropout depends on (seed, step, micro-batch, rank).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from groot_ray.train.order.permutation import combine

Stream = Literal["noise", "augmentation"]
_STREAMS: dict[Stream, int] = {"noise": 0, "augmentation": 1}


@dataclass(frozen=True)
class FlowNoise:
    """How noise and time of flow matching are drawn: ``t = (1 - u) * s`` with ``u ~ Beta(alpha, beta)``; t = 0 is noise, 1 is data."""

    horizon: int
    dims: int
    alpha: float = 1.5
    beta: float = 1.0
    s: float = 0.999


def sample_generator(seed: int, step: int, position: int, stream: Stream) -> np.random.Generator:
    """The random numbers of one sample; `stream` keeps its noise apart from its augmentation."""
    return np.random.default_rng([seed % 2**64, step, position, _STREAMS[stream]])


def draw_flow(rng: np.random.Generator, flow: FlowNoise) -> tuple[np.ndarray, np.float32]:
    """Noise float32 [horizon, dims] and time of one sample."""
    noise = rng.standard_normal((flow.horizon, flow.dims), dtype=np.float32)
    return noise, np.float32((1.0 - rng.beta(flow.alpha, flow.beta)) * flow.s)


def dropout_seed(seed: int, step: int, micro: int, rank: int) -> int:
    """Seed of torch's generator before a micro-batch's forward pass, 63 bits."""
    return combine(seed, step, micro, rank) >> 1
