"""Reads and writes the training part of a checkpoint: safetensors and JSON; reading them runs no code.

``checkpoint-<step>/`` is a checkpoint of the model family (config.json, weights, processor files, tokenizer) that can
be served as is, plus the files that an exact resume needs. ``recovery/step-<step>/`` holds only what has changed
since the base model: the trained weights, the optimizer and the state.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ray.errors import DataError
from groot_ray.json_file import read_json_object
from groot_ray.model.shared.tensor_file import write_tensors
from groot_ray.model.shared.weights import save_tensors, weight_files
from groot_ray.train.step.device import side_stream
from groot_ray.train.step.loop import Kind, LoopOptions, TrainState
from groot_ray.train.step.parallel import TrainingTensors

if TYPE_CHECKING:
    import torch

    from groot_ray.model.family import ModelConfig

TRAINABLE = "trainable.safetensors"
OPTIMIZER = "optimizer.safetensors"
TRAINER_STATE = "trainer_state.json"
RNG_STATE = "rng_state.json"
ADVICE = "remove its folder to resume from an older checkpoint"


@dataclass(frozen=True)
class Snapshot:
    """A copy of a run after a step; training may continue while it is written."""

    kind: Kind
    step: int
    tensors: TrainingTensors
    trainer_state: dict[str, Any]
    rng_state: dict[str, Any]


def take_snapshot(kind: Kind, tensors: TrainingTensors, state: TrainState, options: LoopOptions) -> Snapshot:
    """Create the snapshot of a step from tensors that `Parallelism.snapshot` copied."""
    return Snapshot(
        kind,
        state.step,
        tensors,
        trainer_state_json(state, options),
        # Random numbers depend only on the seed and the position in the run (see `order.noise`), so this is all.
        {
            "generator": "counter",
            "seed": options.seed,
            "step": state.step,
            "next_draw": state.step * options.global_batch_size,
        },
    )


def trainer_state_json(state: TrainState, options: LoopOptions) -> dict[str, Any]:
    """Content of trainer_state.json: the log in transformers' format, and the state of the loop."""
    return {
        "global_step": state.step,
        "max_steps": options.max_steps,
        "logging_steps": options.logging_steps,
        "save_steps": options.save_steps,
        "global_batch_size": options.global_batch_size,
        "phases": [asdict(phase) for phase in options.phases],
        "losses_since_last_log": list(state.window),
        "log_history": list(state.history),
    }


def write_snapshot(snapshot: Snapshot, config: ModelConfig, folder: Path) -> None:
    """Write the training part of a checkpoint into `folder`; the file `OPTIMIZER` serves only to resume."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = snapshot.tensors
    with side_stream(tensors.weights.values()):
        if snapshot.kind == "checkpoint":
            save_tensors(tensors.weights, config, folder)
        else:
            trained = {name: tensors.weights[name] for name in tensors.trained}
            write_tensors(folder / TRAINABLE, trained, {"format": "pt"})
        write_tensors(folder / OPTIMIZER, dict(tensors.optimizer), {"format": "pt"})
    write_json(folder / TRAINER_STATE, snapshot.trainer_state)
    write_json(folder / RNG_STATE, snapshot.rng_state)


def read_training(folder: Path, trained: Collection[str], options: LoopOptions) -> tuple[TrainingTensors, TrainState]:
    """Read the training part of a checkpoint: weights in `trained` and optimizer, on the CPU, and the loop's state.

    Raises:
        DataError: a file is missing or broken, or the checkpoint belongs to another run.
    """
    content = read_json_object(folder / TRAINER_STATE, ADVICE)
    rng = read_json_object(folder / RNG_STATE, ADVICE)
    expected = {"seed": options.seed, "next_draw": content["global_step"] * options.global_batch_size}
    if any(rng.get(name) != value for name, value in expected.items()):
        raise DataError(
            f"{folder / RNG_STATE} belongs to a run with a different seed or global_batch_size; "
            "start over in another folder"
        )
    files = [folder / TRAINABLE] if (folder / TRAINABLE).is_file() else weight_files(folder)
    weights = dict(_tensors(files, set(trained)))
    missing = [name for name in trained if name not in weights]
    if missing:
        raise DataError(
            f"{folder} lacks {len(missing)} trained tensors, such as {missing[0]!r}; "
            "remove the folder to resume from an older checkpoint"
        )
    optimizer = dict(_tensors([folder / OPTIMIZER], None))
    state = TrainState(
        int(content["global_step"]), list(content["log_history"]), list(content["losses_since_last_log"])
    )
    return TrainingTensors(weights, frozenset(trained), optimizer), state


def _tensors(files: Iterable[Path], names: set[str] | None) -> Iterable[tuple[str, torch.Tensor]]:
    """Yield named tensors of safetensors files, on the CPU: all, or those in `names`."""
    from safetensors import SafetensorError, safe_open

    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 (not a dict)
                    if names is None or name in names:
                        yield name, opened.get_tensor(name)
        except (SafetensorError, FileNotFoundError) as error:
            raise DataError(f"{file} cannot be read ({error}); {ADVICE}") from None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write indented JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
