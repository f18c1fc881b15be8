"""The reference's shards and their order, as pure functions (GR00T N1.6 behavior), for comparison only.

Our training draws single samples in a different order; these functions exist so that the reference's order can be
reproduced.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Shard = list[tuple[int, "np.ndarray"]]  # (episode position, its start steps int64 [n]), in loading order


def shard_episodes(
    effective_lengths: Sequence[int], shard_size: int = 1024, episode_sampling_rate: float = 0.1, seed: int = 42
) -> list[Shard]:
    """Cut the episodes' start steps into shards of about `shard_size` samples.

    Each episode's steps are shuffled and cut into ``int(1 / episode_sampling_rate)`` splits, which may be empty;
    every split goes to the shard that is shortest at that moment, the first one on a tie.

    Args:
        effective_lengths: number of start steps of each episode.
        episode_sampling_rate: how finely an episode is spread; no data is left out.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    order = rng.permutation(len(effective_lengths))
    splits = int(1 / episode_sampling_rate)
    count = -(-int(sum(effective_lengths)) // shard_size)
    shards: list[Shard] = [[] for _ in range(count)]
    lengths = np.zeros(count, dtype=np.int64)
    if not count:
        return shards
    for episode in order:
        steps = np.arange(effective_lengths[episode])
        rng.shuffle(steps)
        for split in range(splits):
            part = steps[split::splits]
            target = int(np.argmin(lengths))
            shards[target].append((int(episode), part))
            lengths[target] += len(part)
    return shards


def shard_lengths(shards: Sequence[Shard]) -> list[int]:
    """Number of samples in each shard."""
    return [sum(len(steps) for _, steps in shard) for shard in shards]


def schedule(
    shard_counts: Sequence[int], weights: Sequence[float], num_shards_per_epoch: int, seed: int = 42, epoch: int = 0
) -> list[tuple[int, int]]:
    """The order of an epoch: `num_shards_per_epoch` pairs (dataset, shard).

    Datasets are drawn by weight; a dataset's shards come in a shuffled order without replacement, reshuffled once
    used up.
    """
    import numpy as np

    rng = np.random.default_rng(seed + epoch)
    drawn = rng.choice(len(shard_counts), size=num_shards_per_epoch, p=np.asarray(weights, dtype=np.float64))
    waiting: list[list[int]] = [[] for _ in shard_counts]
    for dataset, count in enumerate(shard_counts):
        waiting[dataset] = _shuffled(rng, count)
    entries = []
    for dataset in drawn:
        if not waiting[dataset]:
            waiting[dataset] = _shuffled(rng, shard_counts[dataset])
        entries.append((int(dataset), waiting[dataset].pop(0)))
    return entries


def _shuffled(rng: np.random.Generator, count: int) -> list[int]:
    import numpy as np

    numbers = np.arange(count)
    rng.shuffle(numbers)
    return [int(number) for number in numbers]
