"""What the network has to know of a batch as plain numbers.

They decide which way a batch takes (one embodiment or several, padded or not) and the sizes of tensors. Told on the CPU, before a batch goes to a
GPU, they spare the forward pass every look at the device, so that it can be queued ahead, compiled, or recorded as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor


class TokenCount(NamedTuple):
    """Fewest and most tokens of a kind in a sample of the batch."""

    least: int
    most: int


class BatchFacts(NamedTuple):
    """Plain numbers about a batch of B samples.

    Attributes:
        embodiments: each embodiment id with the rows of its samples, by id; a single one in the usual case.
        padded: some prompt is shorter than the others.
        text, image: number of text and of image tokens per sample, padding left out.
        image_total: image tokens of the whole batch.
    """

    embodiments: tuple[tuple[int, tuple[int, ...]], ...]
    padded: bool
    text: TokenCount
    image: TokenCount
    image_total: int

    def by_embodiment(self, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """Apply ``function(*parts, embodiment)`` to the rows [B, ...] of each embodiment, and put the results back in order."""
        if len(self.embodiments) == 1:
            return function(*inputs, self.embodiments[0][0])
        order = torch.tensor([row for _, rows in self.embodiments for row in rows])
        back = order.argsort().to(inputs[0].device)
        order = order.to(inputs[0].device)
        sizes = [len(rows) for _, rows in self.embodiments]
        parts = zip(*(tensor.index_select(0, order).split(sizes) for tensor in inputs), strict=True)
        results = [function(*part, embodiment) for part, (embodiment, _) in zip(parts, self.embodiments, strict=True)]
        return torch.cat(results).index_select(0, back)


def describe_batch(batch: Mapping[str, Any], image_token: int) -> BatchFacts:
    """The facts of a batch with ``input_ids``, ``attention_mask`` and ``embodiment_id``; free on the CPU, one wait for a GPU otherwise."""
    mask = batch["attention_mask"].bool()
    image = (batch["input_ids"] == image_token) & mask
    rows = torch.stack([batch["embodiment_id"], mask.sum(1), image.sum(1)]).tolist()
    by_id: dict[int, list[int]] = {}
    for row, embodiment in enumerate(rows[0]):
        by_id.setdefault(embodiment, []).append(row)
    text = [valid - pictures for valid, pictures in zip(rows[1], rows[2], strict=True)]
    return BatchFacts(
        embodiments=tuple((embodiment, tuple(own)) for embodiment, own in sorted(by_id.items())),
        padded=min(rows[1]) < mask.shape[1],
        text=TokenCount(min(text), max(text)),
        image=TokenCount(min(rows[2]), max(rows[2])),
        image_total=sum(rows[2]),
    )
