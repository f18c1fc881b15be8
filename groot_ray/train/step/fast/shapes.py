"""Few shapes: each new shape of a batch costs a compilation, so prompts are padded to few lengths.

While all prompts of a run are equally long, batches stay as they are and need no mask. From the first mixed batch on,
every batch is padded on the left to a common length, a multiple of 16, which only grows. Padded tokens are masked, so
the loss is the same.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from groot_ray.errors import DataError
from groot_ray.model.shared.batch_layout import BatchLayout, TokenCount

STEP = 16


class Shapes:
    """Brings batches into few shapes.

    Args:
        embodiment: the only embodiment in the batches, known to the network as number 0; None for any.
    """

    def __init__(self, embodiment: int | None) -> None:
        self._embodiment = embodiment
        self._mixed = False
        self._text = 0

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch padded and with a layout of few values; other tensors are the same objects.

        Raises:
            DataError: a sample belongs to another embodiment.
        """
        layout: BatchLayout = batch["batch_layout"]
        embodiments = layout.embodiments
        if self._embodiment is not None:
            if [number for number, _ in embodiments] != [self._embodiment]:
                raise DataError(
                    f"a batch has samples of embodiments {[number for number, _ in embodiments]}, but the run trains "
                    f"embodiment {self._embodiment}; set training.compile to off"
                )
            embodiments = ((0, ()),)
        batch = {**batch, "batch_layout": layout._replace(embodiments=embodiments)}
        self._mixed = self._mixed or layout.padded or layout.text.least != layout.text.most
        return self._padded(batch) if self._mixed else batch

    def _padded(self, batch: dict[str, Any]) -> dict[str, Any]:
        layout: BatchLayout = batch["batch_layout"]
        self._text = max(self._text, -(-layout.text.most // STEP) * STEP)
        length = max(self._text + layout.image.most, batch["input_ids"].shape[1])
        missing = length - batch["input_ids"].shape[1]
        return {
            **batch,
            "input_ids": F.pad(batch["input_ids"], (missing, 0)),
            "attention_mask": F.pad(batch["attention_mask"], (missing, 0)),
            "batch_layout": layout._replace(padded=True, text=TokenCount(min(1, layout.text.least), self._text)),
        }
