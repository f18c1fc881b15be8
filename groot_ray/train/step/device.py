"""Where training runs, in which precision, and how micro-batches get there."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch

from groot_ray.train.step.loader import MicroBatch


def training_device(gpu: int | None) -> torch.device:
    """The GPU of that number, or the CPU."""
    if gpu is None:
        return torch.device("cpu")
    device = torch.device("cuda", gpu)
    torch.cuda.set_device(device)
    return device


@dataclass(frozen=True)
class Precision:
    """Arithmetic of a run: `autocast` to bf16, or float32 throughout."""

    autocast: bool
    device: torch.device

    @property
    def dtype_policy(self) -> Literal["reference", "fp32"]:
        """How weights are held: frozen parts of the backbone in bf16 and what trains in float32, or all in float32."""
        return "reference" if self.autocast else "fp32"

    def forward(self) -> AbstractContextManager[Any]:
        """The context of a forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.autocast else nullcontext()


def training_precision(option: Literal["auto", "bf16", "fp32"], device: torch.device) -> Precision:
    """The precision that `training.precision` means on a device; on a GPU float32 products may use TF32, as in the reference."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    return Precision(option == "bf16" or (option == "auto" and device.type == "cuda"), device)


class Feed:
    """Moves micro-batches to the device: on a GPU from pinned memory on a stream of its own, while the one before is computed."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def send(self, batch: MicroBatch) -> tuple[MicroBatch, Any]:
        """Begin the move; called by a loader thread. Gives the batch and what `receive` has to wait for."""
        if self._stream is None:
            return batch, None
        with torch.cuda.stream(self._stream):
            moved = MicroBatch(
                self._move(batch.inputs), self._move(batch.noise), self._move(batch.time), batch.mask_sum, batch.samples
            )
            arrived = torch.cuda.Event()
            arrived.record(self._stream)
        return moved, arrived

    def receive(self, sent: tuple[MicroBatch, Any]) -> MicroBatch:
        """The batch, for use on the current stream."""
        batch, arrived = sent
        if arrived is not None:
            stream = torch.cuda.current_stream(self.device)
            stream.wait_event(arrived)
            for tensor in _tensors([batch.inputs, batch.noise, batch.time]):
                tensor.record_stream(stream)  # its memory is not given away while this stream still reads it
        return batch

    def _move(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.pin_memory().to(self.device, non_blocking=True)
        if isinstance(value, dict):
            return {key: self._move(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._move(item) for item in value]
        return value


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [tensor for item in items for tensor in _tensors(item)]
