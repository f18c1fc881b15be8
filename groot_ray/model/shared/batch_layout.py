"""The layout of a batch as plain numbers, which the network needs in addition to the tensors.

It decides which path a batch takes (one embodiment or several, padded or not) and the sizes of tensors. It is
computed on the CPU before a batch goes to a GPU, so that the forward pass never waits for the device and can be queued
ahead, compiled, or recorded as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor


class TokenCount(NamedTuple):
    """Smallest and largest number of tokens of a kind in one sample of the batch."""

    least: int
    most: int


class BatchLayout(NamedTuple):
    """Layout of a batch of B samples.

    Attributes:
        embodiments: each embodiment id with the rows of its samples, sorted by id; usually one.
        padded: a prompt is shorter than the others.
        text, image: text and image tokens per sample, without padding.
        image_total: image tokens of all samples.
    """

    embodiments: tuple[tuple[int, tuple[int, ...]], ...]
    padded: bool
    text: TokenCount
    image: TokenCount
    image_total: int

    def by_embodiment(self, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """Apply ``function(*parts, embodiment)`` to the rows [B, ...] of each embodiment, and restore the order of the
        rows.
        """
        if len(self.embodiments) == 1:
            return function(*inputs, self.embodiments[0][0])
        order = torch.tensor([row for _, rows in self.embodiments for row in rows])
        back = order.argsort().to(inputs[0].device)
        order = order.to(inputs[0].device)
        sizes = [len(rows) for _, rows in self.embodiments]
        parts = zip(*(tensor.index_select(0, order).split(sizes) for tensor in inputs), strict=True)
        results = [function(*part, embodiment) for part, (embodiment, _) in zip(parts, self.embodiments, strict=True)]
        return torch.cat(results).index_select(0, back)


def batch_layout(batch: Mapping[str, Any], image_token: int) -> BatchLayout:
    """The layout of a batch. On a GPU this waits once for the device; on the CPU it costs nothing.

    `batch` holds ``input_ids`` and ``attention_mask`` int64 [B, L] and ``embodiment_id`` int64 [B]; `image_token` is
    the id of image tokens.
    """
    mask = batch["attention_mask"].bool()
    image = (batch["input_ids"] == image_token) & mask
    rows = torch.stack([batch["embodiment_id"], mask.sum(1), image.sum(1)]).tolist()
    by_id: dict[int, list[int]] = {}
    for row, embodiment in enumerate(rows[0]):
        by_id.setdefault(embodiment, []).append(row)
    text = [valid - images for valid, images in zip(rows[1], rows[2], strict=True)]
    return BatchLayout(
        embodiments=tuple((embodiment, tuple(own)) for embodiment, own in sorted(by_id.items())),
        padded=min(rows[1]) < mask.shape[1],
        text=TokenCount(min(text), max(text)),
        image=TokenCount(min(rows[2]), max(rows[2])),
        image_total=sum(rows[2]),
    )
