"""Splits episodes into train, validation and test, as a pure function of the episode numbers and the options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from groot_ray.errors import ConfigurationError
from groot_ray.experiment.schema import SplitOptions
from groot_ray.experiment.stages import PARTS


@dataclass(frozen=True)
class Splits:
    """Source episode numbers of each part, in ascending order; `unused` are in no part."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    unused: tuple[int, ...]

    def parts(self) -> dict[str, tuple[int, ...]]:
        """The parts that have episodes, by name."""
        return {name: episodes for name in PARTS if (episodes := getattr(self, name))}


def split_episodes(episodes: Sequence[int], options: SplitOptions) -> Splits:
    """Assign `episodes` (numbers in source order) to the parts.

    Episodes stay in order, or are first shuffled with `seed`. If train has a number or share, train comes first, test
    follows, and validation is taken from the rest or, if that is too small, cut from the end of train. Otherwise test
    is at the end, validation before it, and train is the rest. A share of the episodes is rounded to the nearest
    number, but at least one episode.

    Raises `ConfigurationError` if more episodes are asked for than exist, or none is left for training.
    """
    order = list(episodes)
    if options.seed is not None:
        import numpy as np

        order = [order[i] for i in np.random.default_rng(options.seed).permutation(len(order))]
    total = len(order)
    test, validation = _count(options.test, total), _count(options.validation, total)
    if options.train is None:
        train = total - test - validation
        pools = order[:train], order[train : train + validation], order[train + validation :]
        unused: list[int] = []
    else:
        train = _train_count(options, total, test, validation)
        rest = order[train + test :]
        pools = order[:train], rest[:validation], order[train : train + test]
        unused = rest[validation:]
        if validation > len(rest):
            pools = order[: max(train - validation, 0)], order[max(train - validation, 0) : train], pools[2]
            unused, train = rest, train - validation
    if train < 1 or tuple(map(len, pools)) != (train, validation, test):
        raise ConfigurationError(
            f"the splits ask for train {_asked(options.train)}, validation {options.validation} and "
            f"test {options.test}, more than {total} episodes allow; "
            "lower them, or leave splits.train out to train on all that are left"
        )
    return Splits(*(tuple(sorted(pool)) for pool in (*pools, unused)))


def _count(part: int | float, total: int) -> int:
    if isinstance(part, int):
        return part
    return max(1, int(part * total + 0.5))


def _train_count(options: SplitOptions, total: int, test: int, validation: int) -> int:
    """Number of training episodes; if the shares add up to 1, train gets the remainder of the rounding."""
    assert options.train is not None
    parts = (options.train, options.validation, options.test)
    if all(isinstance(part, float) or part == 0 for part in parts) and sum(parts) > 1 - 1e-9:
        return total - test - validation if sum(parts) < 1 + 1e-9 else total + 1
    return _count(options.train, total)


def _asked(part: int | float | None) -> str:
    return "all others" if part is None else str(part)
