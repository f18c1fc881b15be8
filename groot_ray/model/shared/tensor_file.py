"""Writing safetensors files tensor by tensor.

The bytes are those of the safetensors library. Unlike its `save_file`, this needs little CPU memory and blocks nobody
while it copies and writes (it releases Python's lock, and copies from a GPU go through pinned memory), so training
continues at full speed while its checkpoint is written. Files get the usual permissions.
"""

from __future__ import annotations

import json
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

_NAMES = {
    torch.float64: "F64",
    torch.int64: "I64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
STAGING = 64 << 20  # bytes of each pinned buffer for GPU tensors
# The library writes wide types first, so that every tensor is aligned, and equally wide ones in this order.
_ORDER = {
    name: position
    for position, name in enumerate(("I64", "F64", "F32", "I32", "BF16", "F16", "I16", "I8", "U8", "BOOL"))
}


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Write `tensors`, of any device, as a safetensors file.

    Raises:
        KeyError: a tensor's dtype is not supported.
    """
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), _ORDER[_NAMES[tensors[name].dtype]], name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset = 0
    for name in names:
        tensor = tensors[name]
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)))
        stream.write(text)
        for piece in _pieces(tensors[name] for name in names):
            stream.write(piece)


def _pieces(tensors: Iterable[torch.Tensor]) -> Iterator[memoryview]:
    """The bytes of the tensors, one after the other; each piece is valid until the next is requested.

    A copy from a GPU to pageable memory keeps the driver from launching other threads' work, which makes training three
    times as slow. Such tensors therefore come in parts through two buffers of pinned memory: one is filled while the
    other is written.
    """
    buffers: deque[torch.Tensor] = deque()
    filled: deque[tuple[torch.Tensor, torch.cuda.Event]] = deque()

    def oldest() -> memoryview:
        part, copied = filled.popleft()
        copied.synchronize()
        return part.numpy().data

    for tensor in tensors:
        flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
        if not flat.is_cuda:
            while filled:
                yield oldest()
            yield flat.cpu().numpy().data
            continue
        if not buffers:
            buffers.extend(torch.empty(STAGING, dtype=torch.uint8, pin_memory=True) for _ in range(2))
        for source in flat.split(STAGING):
            if len(filled) == len(buffers):
                yield oldest()
            part = buffers[0][: source.numel()]
            buffers.rotate(1)
            part.copy_(source, non_blocking=True)
            copied = torch.cuda.Event(blocking=True)
            copied.record(torch.cuda.current_stream(source.device))
            filled.append((part, copied))
    while filled:
        yield oldest()
