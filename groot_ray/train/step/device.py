"""The training device and precision, the transfer of micro-batches to the device, and copies of tensors from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch

from groot_ray.train.step.loader import MicroBatch


def training_device(gpu: int | None) -> torch.device:
    """The GPU with this number, or the CPU if None."""
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
        """Dtypes of the weights: frozen backbone parts in bf16 and trained parts in float32, or all in float32."""
        return "reference" if self.autocast else "fp32"

    def forward(self) -> AbstractContextManager[Any]:
        """The autocast context for a forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.autocast else nullcontext()


def training_precision(option: Literal["auto", "bf16", "fp32"], device: torch.device) -> Precision:
    """The precision of `training.precision`; on a GPU, float32 products may use TF32, as in the reference."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    return Precision(option == "bf16" or (option == "auto" and device.type == "cuda"), device)


def peak_flops(device: torch.device) -> float | None:
    """Dense bf16 peak of a GPU in operations per second, from its data sheet; None for one that is not listed."""
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in _PEAK_FLOPS.items() if part in name), None)


# By part of the name that the driver reports. PCIe cards of the same name are slower, and their MFU reads too low.
_PEAK_FLOPS = {"H100": 989.5e12, "H200": 989.5e12, "A100": 312e12, "L40S": 362e12, "B200": 2250e12}


class Feed:
    """Copies micro-batches to a GPU through pinned memory, in parallel with computation; does nothing on a CPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def send(self, batch: MicroBatch) -> tuple[MicroBatch, Any]:
        """Start the copy; called by a loader thread. Returns the batch and what `receive` has to wait for."""
        if self._stream is None:
            return batch, None
        with torch.cuda.stream(self._stream):
            moved = MicroBatch(self._move(batch.inputs), self._move(batch.draws), batch.mask_sum, batch.samples)
            arrived = torch.cuda.Event()
            arrived.record(self._stream)
        return moved, arrived

    def receive(self, sent: tuple[MicroBatch, Any]) -> MicroBatch:
        """Wait for the copy and return the batch, ready for the current stream."""
        batch, arrived = sent
        if arrived is not None:
            stream = torch.cuda.current_stream(self.device)
            stream.wait_event(arrived)
            for tensor in _tensors([batch.inputs, batch.draws]):
                tensor.record_stream(stream)  # its memory is not reused while this stream reads it
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


def copier(tensors: Sequence[torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function that copies these tensors: on their GPU if it has memory for a second copy, else to the CPU."""
    device = next((tensor.device for tensor in tensors if tensor.is_cuda), None)
    if device is not None:
        needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor.is_cuda)
        free = torch.cuda.mem_get_info(device)[0]
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        if needed * 2 < free + unused:
            return lambda tensor: tensor.detach().clone()
    return lambda tensor: tensor.detach().to("cpu", copy=True)


def side_stream(tensors: Iterable[torch.Tensor]) -> AbstractContextManager[Any]:
    """A context in which copies of these tensors from the GPU use a separate stream, in parallel with computation."""
    device = next((tensor.device for tensor in tensors if tensor.is_cuda), None)
    if device is None:
        return nullcontext()
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.default_stream(device))  # the snapshot was taken there
    return torch.cuda.stream(stream)
