"""What is in a checkpoint, taken from a running training and put back: safetensors and JSON, nothing that runs code when it is read.

``checkpoint-<step>/`` is a GR00T N1.6 checkpoint (config.json, weights, processor files, tokenizer) that serves as it stands, with what
an exact resume needs beside it. ``recovery/step-<step>/`` holds only what has changed since the base model: the trained weights, the
optimizer and the state.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from groot_ray.errors import DataError
from groot_ray.model.n1d6.weights import save_tensors, weight_files
from groot_ray.model.shared.tensor_file import write_tensors
from groot_ray.train.checkpoints.optimizer_state import load_optimizer_tensors, optimizer_tensors
from groot_ray.train.step.loop import Kind, LoopOptions, TrainState

if TYPE_CHECKING:
    from groot_ray.model.n1d6.network import Gr00tN1d6

TRAINABLE = "trainable.safetensors"
OPTIMIZER = "optimizer.safetensors"
TRAINER_STATE = "trainer_state.json"
RNG_STATE = "rng_state.json"


@dataclass(frozen=True)
class Snapshot:
    """A copy of all that a step has left; training may go on meanwhile."""

    kind: Kind
    step: int
    weights: dict[str, torch.Tensor]
    trained: frozenset[str]
    optimizer: dict[str, torch.Tensor]
    trainer_state: dict[str, Any]
    rng_state: dict[str, Any]


def take_snapshot(
    kind: Kind, model: Gr00tN1d6, optimizer: torch.optim.Optimizer, state: TrainState, options: LoopOptions
) -> Snapshot:
    """Copy what trains; frozen weights are referred to, since nothing changes them.

    On a GPU with room the copies stay there, which takes milliseconds, and whoever writes them brings them over; else they go to the
    CPU now.
    """
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    moments = optimizer_tensors(model, optimizer)
    copied = copier([*trained.values(), *moments.values()])
    weights = {name: copied(value) if name in trained else value.detach() for name, value in model.state_dict().items()}
    return Snapshot(
        kind,
        state.step,
        weights,
        frozenset(trained),
        {name: copied(value) for name, value in moments.items()},
        trainer_state_json(state, options),
        # Every random number follows from the seed and from where it is needed (see `noise`): nothing else has to be kept.
        {
            "generator": "counter",
            "seed": options.seed,
            "step": state.step,
            "next_draw": state.step * options.global_batch_size,
        },
    )


def copier(tensors: Sequence[torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """How to copy these tensors: where they are, if that is a GPU with room for all of them twice over, else to the CPU."""
    device = next((tensor.device for tensor in tensors if tensor.is_cuda), None)
    if device is not None:
        needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor.is_cuda)
        free = torch.cuda.mem_get_info(device)[0]
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        if needed * 2 < free + unused:
            return lambda tensor: tensor.detach().clone()
    return lambda tensor: tensor.detach().to("cpu", copy=True)


def trainer_state_json(state: TrainState, options: LoopOptions) -> dict[str, Any]:
    """Content of trainer_state.json: the log in the form that transformers' tools read, and what this loop remembers."""
    return {
        "global_step": state.step,
        "max_steps": options.max_steps,
        "logging_steps": options.logging_steps,
        "save_steps": options.save_steps,
        "global_batch_size": options.global_batch_size,
        "phases": [asdict(phase) for phase in options.phases],
        "losses_since_last_log": state.window,
        "log_history": state.history,
    }


def write_snapshot(snapshot: Snapshot, model: Gr00tN1d6, folder: Path) -> None:
    """Write the training's part of a checkpoint into `folder`; of its files only a resume needs `OPTIMIZER`."""
    folder.mkdir(parents=True, exist_ok=True)
    with aside(snapshot.weights.values()):
        if snapshot.kind == "checkpoint":
            save_tensors(snapshot.weights, model.config, folder)
        else:
            trained = {name: snapshot.weights[name] for name in snapshot.trained}
            write_tensors(folder / TRAINABLE, trained, {"format": "pt"})
        write_tensors(folder / OPTIMIZER, snapshot.optimizer, {"format": "pt"})
    write_json(folder / TRAINER_STATE, snapshot.trainer_state)
    write_json(folder / RNG_STATE, snapshot.rng_state)


def aside(tensors: Iterable[torch.Tensor]) -> AbstractContextManager[Any]:
    """A context in which copies from the GPU go through a stream of their own, beside what is being computed there."""
    device = next((tensor.device for tensor in tensors if tensor.is_cuda), None)
    if device is None:
        return nullcontext()
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.default_stream(device))  # the snapshot was taken there
    return torch.cuda.stream(stream)


def read_training(
    folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, options: LoopOptions
) -> TrainState:
    """Put weights and optimizer of a checkpoint folder into the model and return the state that belongs to them.

    Raises:
        DataError: a file is missing or broken, or the checkpoint is of another run.
    """
    content = read_json(folder / TRAINER_STATE)
    rng = read_json(folder / RNG_STATE)
    expected = {"seed": options.seed, "next_draw": content["global_step"] * options.global_batch_size}
    if any(rng.get(name) != value for name, value in expected.items()):
        raise DataError(
            f"{folder / RNG_STATE} is of a run with another seed or global_batch_size; begin anew in another folder"
        )
    wanted = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    files = [folder / TRAINABLE] if (folder / TRAINABLE).is_file() else weight_files(folder)
    found = dict(_tensors(files, set(wanted)))
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DataError(
            f"{folder} lacks {len(missing)} trained tensors, the first is {missing[0]!r}; remove the folder to resume from an older checkpoint"
        )
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(found[name])
    load_optimizer_tensors(model, optimizer, dict(_tensors([folder / OPTIMIZER], None)))
    return TrainState(int(content["global_step"]), list(content["log_history"]), list(content["losses_since_last_log"]))


def _tensors(files: Iterable[Path], names: set[str] | None) -> Iterable[tuple[str, torch.Tensor]]:
    """Named tensors of safetensors files, on the CPU; only those of `names` are read."""
    from safetensors import SafetensorError, safe_open

    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 (not a dict)
                    if names is None or name in names:
                        yield name, opened.get_tensor(name)
        except (SafetensorError, FileNotFoundError) as error:
            raise DataError(
                f"{file} cannot be read ({error}); remove its folder to resume from an older checkpoint"
            ) from None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write indented JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises DataError when it is missing or broken."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read ({error}); remove its folder to resume from an older checkpoint"
        ) from None
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no object; remove its folder to resume from an older checkpoint")
    return content
