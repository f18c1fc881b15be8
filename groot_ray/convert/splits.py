"""Which episodes train, validate and test, as a pure function of the episode numbers and the options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from groot_ray.errors import ConfigurationError
from groot_ray.experiment.schema import SplitOptions

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Splits:
    """Source episode numbers of each part, in ascending order; `unused` are in no part."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    unused: tuple[int, ...]

    def parts(self) -> dict[str, tuple[int, ...]]:
        """The parts that have episodes, by name."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: episodes for name, episodes in named.items() if episodes}


def split_episodes(episodes: Sequence[int], options: SplitOptions) -> Splits:
    """Deal `episodes` (numbers in source order) out to the parts.

    In order, or shuffled with `seed` first. With a number or share for train: train comes first, test follows, validation is taken
    from what is left, or, where too little is left, cut from the end of train. Without: test is the end, validation the end of what
    remains, train all the rest. A share of the episodes is rounded to the nearest number, but is at least one episode.

    Raises `ConfigurationError` when more episodes are asked for than there are, or none is left for training.
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
            f"the splits ask for train {_told(options.train)}, validation {options.validation} and test {options.test}, "
            f"which {total} episodes cannot give; lower them, or leave splits.train out to train on all that are left"
        )
    return Splits(*(tuple(sorted(pool)) for pool in (*pools, unused)))


def _count(part: int | float, total: int) -> int:
    if isinstance(part, int):
        return part
    return max(1, int(part * total + 0.5))


def _train_count(options: SplitOptions, total: int, test: int, validation: int) -> int:
    """Train's number; where shares add up to all, train takes what rounding leaves."""
    assert options.train is not None
    parts = (options.train, options.validation, options.test)
    if all(isinstance(part, float) or part == 0 for part in parts) and sum(parts) > 1 - 1e-9:
        return total - test - validation if sum(parts) < 1 + 1e-9 else total + 1
    return _count(options.train, total)


def _told(part: int | float | None) -> str:
    return "all others" if part is None else str(part)
