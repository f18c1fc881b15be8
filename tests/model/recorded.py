"""What NVIDIA's implementation made of one sample (two cameras, joints, a gripper and an end-effector pose), and
synthetic samples.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).resolve().parent.parent / "fixtures" / "groot_n1d6" / "data"


def recording() -> dict[str, np.ndarray]:
    """Arrays of the recorded sample: ``raw_*``, ``eval.*``, ``train.*``, ``batch.*``, ``decoded_action.*``."""
    with np.load(DATA / "processor_sample.npz") as arrays:
        return dict(arrays)


def part(arrays: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Arrays ``name.key`` by key."""
    return {key.split(".", 1)[1]: value for key, value in arrays.items() if key.startswith(f"{name}.")}


def recorded_sample(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return {
        "images": part(arrays, "raw_image"),
        "state": part(arrays, "raw_state"),
        "action": part(arrays, "raw_action"),
        "language": json.loads((DATA / "prompt.json").read_text())["raw_text"],
        "tag": "NEW_EMBODIMENT",
    }


def modality_configs(
    state: list[str],
    action: list[str],
    *,
    horizon: int = 8,
    cameras: tuple[str, ...] = ("front",),
    frames: tuple[int, ...] = (0,),
    actions: list[dict[str, Any]] | None = None,
    mean_std: list[str] | None = None,
) -> dict[str, Any]:
    def config(deltas: list[int], keys: list[str], **more: Any) -> dict[str, Any]:
        empty = {"sin_cos_embedding_keys": None, "mean_std_embedding_keys": None, "action_configs": None}
        return {"delta_indices": deltas, "modality_keys": keys, **empty, **more}

    return {
        "video": config(list(frames), list(cameras)),
        "state": config([0], state),
        "action": config(list(range(horizon)), action, action_configs=actions, mean_std_embedding_keys=mean_std),
        "language": config([0], ["task"]),
    }


def statistics_of(values: np.ndarray) -> dict[str, Any]:
    """The six statistics over the first axis, as plain lists."""
    values = values.astype(np.float64)
    return {
        "min": values.min(0).tolist(),
        "max": values.max(0).tolist(),
        "mean": values.mean(0).tolist(),
        "std": values.std(0).tolist(),
        "q01": np.quantile(values, 0.01, axis=0).tolist(),
        "q99": np.quantile(values, 0.99, axis=0).tolist(),
    }
