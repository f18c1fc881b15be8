"""The reference's shards and their order, as pure functions (GR00T N1.6 behavior); only for comparing with it.

Our own training draws single samples in an order of its own; these functions exist so that the reference's can be reproduced.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Shard = list[tuple[int, "np.ndarray"]]  # (episode position, its start steps int64 [n]), in loading order


def shard_episodes(
    effective_lengths: Sequence[int], shard_size: int = 1024, episode_sampling_rate: float = 0.1, seed: int = 42
) -> list[Shard]:
    """Cut the episodes' start steps into shards of about `shard_size` samples.

    Each episode's steps are shuffled and dealt into ``int(1 / episode_sampling_rate)`` splits, which may be empty; every split goes to
    the shard that is shortest at that moment, the first among equals.

    Args:
        effective_lengths: number of start steps of each episode.
        episode_sampling_rate: how finely an episode is spread; it leaves out no data.
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


def dataset_weights(
    mix_ratios: Sequence[float], lengths: Sequence[Sequence[int]], groups: Sequence[int] | None = None
) -> np.ndarray:
    """Probability with which each dataset of a mixture is drawn, float64 [n].

    A group's ratio is shared among its datasets by their numbers of shards, divided by the dataset's mean shard length, and the
    whole is normalized.

    Args:
        mix_ratios: ratio of each dataset's group.
        lengths: shard lengths of each dataset.
        groups: group of each dataset; each its own when not given.
    """
    import numpy as np

    groups = list(range(len(lengths))) if groups is None else list(groups)
    shards_of_group = {
        group: sum(len(n) for n, g in zip(lengths, groups, strict=True) if g == group) for group in groups
    }
    weights = np.array(
        [
            ratio * len(n) / shards_of_group[group] / np.mean(n)
            for ratio, n, group in zip(mix_ratios, lengths, groups, strict=True)
        ]
    )
    return weights / weights.sum()


def schedule(
    shard_counts: Sequence[int], weights: Sequence[float], num_shards_per_epoch: int, seed: int = 42, epoch: int = 0
) -> list[tuple[int, int]]:
    """The order of an epoch: `num_shards_per_epoch` pairs (dataset, shard).

    Datasets are drawn by weight; a dataset's shards come in a shuffled order without replacement, reshuffled when used up.
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


def worker_entries(
    entries: Sequence[tuple[int, int]], rank: int, world: int, worker: int = 0, workers: int = 1
) -> Iterator[tuple[int, int]]:
    """The entries of a schedule that one loader worker of one rank takes: every (world * workers)-th."""
    yield from entries[rank * workers + worker :: world * workers]
