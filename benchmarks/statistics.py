"""How fast one core computes statistics: ``python -m benchmarks.statistics`` prints a table.

Datasets of random walks in GR00T's layout (two RELATIVE arms of 7 dims over 16 steps) are read from parquet, each
variant in its own process: frames per CPU-second, and the memory beyond the imports. `lists` is the common way,
for comparison: every chunk kept in a Python list, then numpy over all of them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.turns import best_of_turns, print_table

DIMS, HORIZON = 14, 16
VARIANTS = ("lists", "ours", "ours, rank search")


def configs() -> dict:
    """Two RELATIVE arms of seven dims."""
    arms = ["left_arm", "right_arm"]
    relative = {"rep": "RELATIVE", "type": "NON_EEF", "format": "DEFAULT", "state_key": None}
    return {
        "state": {"delta_indices": [0], "modality_keys": arms},
        "action": {
            "delta_indices": list(range(HORIZON)),
            "modality_keys": arms,
            "action_configs": [relative, relative],
        },
    }


def write_dataset(root: Path, episodes: int, frames: int) -> None:
    """A dataset of numbers only."""
    import numpy as np

    from groot_ray.convert.episode import to_table, write_parquet
    from groot_ray.dataset.groot import layout

    rng = np.random.default_rng(0)
    vector = {"dtype": "float32", "shape": [DIMS], "names": None}
    features = {layout.STATE_COLUMN: vector, layout.ACTION_COLUMN: vector}
    slices = {"left_arm": {"start": 0, "end": 7}, "right_arm": {"start": 7, "end": 14}}
    (root / "meta").mkdir(parents=True)
    (root / layout.INFO).write_text(json.dumps({"features": features, "fps": 20}))
    (root / layout.MODALITY).write_text(json.dumps({"state": slices, "action": slices, "video": {}}))
    written = [layout.WrittenEpisode(index, frames, ("move",)) for index in range(episodes)]
    (root / layout.EPISODES).write_text(layout.episodes_jsonl(written))
    for index in range(episodes):
        walk = np.cumsum(rng.normal(0, 0.02, (frames + 1, DIMS)), axis=0).astype(np.float32)
        table = to_table(layout.episode_columns(walk[:-1], walk[1:], 20.0, index, index * frames, 0))
        write_parquet(table, root / layout.data_path(index))


def with_lists(root: Path) -> None:
    """Every chunk in a list, as a script would write it."""
    import numpy as np
    import pandas as pd

    chunks: dict[str, list] = {"left_arm": [], "right_arm": []}
    states, actions = [], []
    for path in sorted(root.glob("data/*/*.parquet")):
        table = pd.read_parquet(path)
        state, action = np.stack(table["observation.state"]), np.stack(table["action"])
        states.append(state)
        actions.append(action)
        for key, start in (("left_arm", 0), ("right_arm", 7)):
            for i in range(len(table) - HORIZON + 1):
                chunks[key].append(action[i : i + HORIZON, start : start + 7] - state[i, start : start + 7])
    for values in (np.concatenate(states), np.concatenate(actions), *(np.stack(found) for found in chunks.values())):
        values.mean(0), values.std(0), values.min(0), values.max(0), np.quantile(values, [0.01, 0.99], axis=0)


def measured(variant: str, root: Path) -> dict[str, float]:
    """Run a variant in this process: CPU-seconds and megabytes on top of the imports."""
    import resource
    import time

    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    from groot_ray.statistics.files import Memory, dataset_statistics
    from groot_ray.storage import open_location

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    if variant == "lists":
        with_lists(root)
    else:
        memory = Memory() if variant == "ours" else Memory(rows=1024, between=0)
        dataset_statistics(open_location(root), configs(), memory=memory)
    seconds = time.process_time() - start
    return {"seconds": seconds, "memory": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}


def main() -> None:
    """Parse the command line, run the variants in turns and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.statistics", description=__doc__.split("\n")[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--sizes", nargs="+", default=["6x362", "100x400", "1000x400"], help="episodes x frames")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(measured(options.variant, options.root)))
        return
    rows = [row for size in options.sizes for row in measured_size(size, options.turns)]
    print_table(["episodes x frames", "variant", "frames per CPU-second", "of lists", "MB beyond imports"], rows)


def measured_size(size: str, turns: int) -> list[list[str]]:
    """The rows of the table for a dataset of ``episodes x frames``."""
    episodes, frames = (int(number) for number in size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "dataset"
        write_dataset(root, episodes, frames)
        best = best_of_turns("benchmarks.statistics", VARIANTS, turns, ["--root", str(root)])
    lists = best["lists"]["seconds"]
    return [
        [
            size,
            variant,
            f"{episodes * frames / found['seconds']:.0f}",
            f"{lists / found['seconds']:.1f}x",
            f"{found['memory']:.0f}",
        ]
        for variant, found in best.items()
    ]


if __name__ == "__main__":
    main()
