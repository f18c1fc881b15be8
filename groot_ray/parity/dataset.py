"""Statistics, samples and their order against the reference's."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from groot_ray.dataset.groot import layout
from groot_ray.dataset.groot.shards import Shard, schedule, shard_episodes, shard_lengths
from groot_ray.parity.check import Check, absent, close, equal
from groot_ray.parity.processing import NORMALIZED
from groot_ray.parity.recorded import CONFIGS, PART, PROCESSOR, Recorded, lacking
from groot_ray.statistics.files import dataset_statistics
from groot_ray.statistics.mixture import merge_statistics
from groot_ray.storage import open_location

STATISTICS = 1e-6
SEED = 42  # the reference's, for shards and their order


def compare_statistics(recorded: Recorded) -> Iterator[Check]:
    if recorded.file(f"dataset/{layout.STATS}") is None:
        yield absent(PART, "statistics", f"no dataset/{layout.STATS}")
        return
    configs = recorded.configs if recorded.all_configs else {}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "dataset"
        shutil.copytree(recorded.folder / "dataset", copy, ignore=shutil.ignore_patterns("videos"))
        absolute, relative = dataset_statistics(open_location(copy), configs)
    for name, ours, file in (
        ("stats.json", absolute, layout.STATS),
        ("relative_stats.json", relative, layout.RELATIVE_STATS),
    ):
        if recorded.file(f"dataset/{file}") is None:
            yield absent(PART, name, f"no dataset/{file}")
            continue
        if file == layout.RELATIVE_STATS and not configs:
            yield absent(PART, name, f"no {CONFIGS} and no {PROCESSOR}")
            continue
        theirs = recorded.json(f"dataset/{file}")
        yield equal(PART, f"{name} keys", sorted(ours), sorted(theirs))
        for key in sorted(set(ours) & set(theirs)):
            for quantity in theirs[key]:
                yield close(PART, f"{name} {key} {quantity}", ours[key][quantity], theirs[key][quantity], STATISTICS)


def compare_merged(recorded: Recorded) -> Iterator[Check]:
    """The statistics that the reference's run normalizes with: here of a single dataset, so they equal its own, by
    key.
    """
    needed = ("data/statistics_merged.json", f"dataset/{layout.STATS}")
    if missing := lacking(recorded, "merged statistics", *needed):
        yield from missing
        return
    if not recorded.all_configs:
        yield from lacking(recorded, "merged statistics", CONFIGS)
        return
    own = recorded.dataset.statistics(recorded.configs)
    theirs = recorded.json("data/statistics_merged.json")[recorded.tag]
    for part, keys in theirs.items():
        yield equal(PART, f"merged statistics: keys of {part}", sorted(own[part]), sorted(keys))
        for key, entries in keys.items():
            merged = merge_statistics([own[part][key]], [1.0])
            worst = max(
                (
                    close(PART, f"merged statistics {part} {key}", merged[name], entries[name], STATISTICS)
                    for name in entries
                ),
                key=lambda check: check.difference or 0.0,
            )
            yield worst


def compare_shards(recorded: Recorded) -> Iterator[Check]:
    if recorded.file("data/shards.json") is None:
        yield absent(PART, "shards", "no data/shards.json")
        return
    theirs = recorded.json("data/shards.json")
    lengths = theirs["effective_lengths"]
    if recorded.file(f"dataset/{layout.INFO}") is not None and recorded.all_configs:
        ours = [
            recorded.dataset.effective_length(position, recorded.configs) for position in range(len(recorded.dataset))
        ]
        yield equal(PART, "effective lengths of episodes", ours, lengths)
    count = len(theirs["shards"])
    size = -(-sum(lengths) // count)  # only the number of shards matters, not the size that led to it
    splits = max(
        sum(episode == which for shard in theirs["shards"] for which, _ in shard) for episode in range(len(lengths))
    )
    rate = 1 / (splits + 0.5)  # any rate gives int(1 / rate) splits; this one whatever the rounding
    plain = theirs["shards"]
    seed = _seed(theirs, lambda seed: _plain(shard_episodes(lengths, size, rate, seed)) == plain)
    shards = shard_episodes(lengths, size, rate, seed)
    yield equal(
        PART,
        "shards",
        _plain(shards),
        plain,
        f"{count} shards, seed {seed}",
    )
    yield equal(PART, "shard lengths", shard_lengths(shards), theirs["shard_lengths"])
    entries, wanted = len(theirs["schedule"]), [tuple(entry) for entry in theirs["schedule"]]
    seed = _seed(theirs, lambda seed: schedule([count], [1.0], entries, seed) == wanted)
    order = schedule([count], [1.0], entries, seed)
    yield equal(PART, "order of shards", order, wanted, f"{entries} entries, seed {seed}")


def _plain(shards: list[Shard]) -> list[Any]:
    """Shards as they are recorded."""
    return [[[episode, steps.tolist()] for episode, steps in shard] for shard in shards]


def _seed(recorded: Mapping[str, Any], fits: Callable[[int], bool]) -> int:
    """The seed of a recording: the recorded one, else the reference's default or one of the first thousand that
    matches.
    """
    if "seed" in recorded:
        return int(recorded["seed"])
    return next((seed for seed in (SEED, *range(1000)) if fits(seed)), SEED)


def compare_stream(recorded: Recorded) -> Iterator[Check]:
    theirs = recorded.arrays("data/stream_first12.npz")
    missing = lacking(recorded, "samples of the stream", "data/stream_first12.npz", f"dataset/{layout.INFO}", PROCESSOR)
    if theirs is None or missing:
        yield from missing
        return
    places, state, action = [], 0.0, 0.0
    for their_state, their_action in zip(theirs["state"], theirs["action"], strict=True):
        place = recorded.found(their_state, their_action)
        places.append(place)
        if place is not None:
            state = max(state, float(np.abs(recorded.samples[place]["state"] - their_state).max()))
            action = max(action, float(np.abs(recorded.samples[place]["action"] - their_action).max()))
    yield equal(PART, "samples of the stream found by (episode, step)", places.count(None), 0, f"{len(places)} samples")
    yield Check(PART, "samples of the stream: state", state, NORMALIZED, state <= NORMALIZED)
    yield Check(PART, "samples of the stream: action", action, NORMALIZED, action <= NORMALIZED)
    if recorded.file("data/shards.json") is not None:
        recorded_shards = recorded.json("data/shards.json")
        first = recorded_shards["shards"][recorded_shards["schedule"][0][1]]
        listed = [(episode, step) for episode, steps in first for step in steps]

        def order(seed: int) -> list[tuple[int, int]]:
            return [listed[index] for index in np.random.default_rng(seed).permutation(len(listed))][: len(places)]

        ours, theirs_order = order(_seed(recorded_shards, lambda seed: order(seed) == places)), places[: len(listed)]
        yield equal(PART, "order of the stream in the first shard", ours, theirs_order, f"{len(listed)} samples in it")
