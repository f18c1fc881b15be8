"""Features of several samples to one batch of GR00T N1.6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from groot_ray.errors import DataError
from groot_ray.model.n1d6.pixels import batch_pixels
from groot_ray.model.n1d6.prompt import expand
from groot_ray.model.n1d6.tokens import IMAGE_TOKEN
from groot_ray.model.shared.batch_layout import batch_layout
from groot_ray.model.shared.tokenizer import Tokenizer


class Collate:
    """Stacks features, and turns prompts into token ids."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._image_token = tokenizer.token_id(IMAGE_TOKEN)

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Features of B samples to a batch of tensors.

        Returns:
            ``input_ids`` and ``attention_mask`` int64 [B, L], padded on the left; ``pixel_values`` float32 [N, 3, H, W]
            over all images of all samples in order (a list of [1, 3, H, W] where their sizes differ); ``state``,
            ``action``, ``action_mask`` float32; ``embodiment_id`` int64 [B]; ``batch_layout``. Action and mask only
            where the samples have them.

        Raises:
            DataError: the samples differ in their shapes.
        """
        batch: dict[str, Any] = self._tokens(features)
        batch["pixel_values"] = batch_pixels([image for f in features for image in f["pixels"]])
        for key in ("state", "action", "action_mask"):
            values = [f[key] for f in features if key in f]
            if not values:
                continue
            if len(values) != len(features) or any(v.shape != values[0].shape for v in values):
                raise DataError(
                    f"the samples of a batch differ in {key} (number of frames, or some have none); use the same for "
                    "all embodiments"
                )
            batch[key] = torch.from_numpy(np.stack(values))
        batch["embodiment_id"] = torch.tensor([f["embodiment_id"] for f in features], dtype=torch.int64)
        batch["batch_layout"] = batch_layout(batch, self._image_token)
        return batch

    def _tokens(self, features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Token ids and attention mask int64 [B, L], padded on the left."""
        prompts = [self._tokenizer.encode(_expanded(f)) for f in features]
        longest = max(len(ids) for ids in prompts)
        input_ids = np.full((len(prompts), longest), self._tokenizer.pad_id, dtype=np.int64)
        attention_mask = np.zeros_like(input_ids)
        for row, ids in enumerate(prompts):
            input_ids[row, longest - len(ids) :] = ids
            attention_mask[row, longest - len(ids) :] = 1
        return {"input_ids": torch.from_numpy(input_ids), "attention_mask": torch.from_numpy(attention_mask)}


def _expanded(features: Mapping[str, Any]) -> str:
    """The prompt with each image's tokens."""
    return expand(features["text"], [image.shape[:2] for image in features["pixels"]])
