"""The vision-language backbone of GR00T N1.6 (Eagle): vision tower, connector, language model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groot_ray.errors import DataError
from groot_ray.model.n1d6.config import Gr00tConfig
from groot_ray.model.n1d6.vision import VisionModel
from groot_ray.model.shared.batch_layout import BatchLayout
from groot_ray.model.shared.language import LanguageModel

Images = Tensor | Sequence[Tensor]  # [N, 3, H, W], or a list of [n, 3, H, W] of any sizes


class Eagle(nn.Module):
    """Holds the parts under the reference's names."""

    def __init__(self, config: Gr00tConfig) -> None:
        super().__init__()
        vision, text = config.vision.hidden_size, config.text.hidden_size
        self.vision_model = VisionModel(config.vision)
        self.mlp1 = nn.Sequential(
            nn.LayerNorm(4 * vision), nn.Linear(4 * vision, text), nn.GELU(), nn.Linear(text, text)
        )
        self.language_model = LanguageModel(config.text, config.select_layer)


class Backbone(nn.Module):
    """Token ids and images to features: the final norm's output after the kept language layers."""

    def __init__(self, config: Gr00tConfig) -> None:
        super().__init__()
        self.image_token = config.image_token
        self.patch_size = config.vision.patch_size
        self.model = Eagle(config)

    def image_tokens(self, images: Images) -> Tensor:
        """Features of all images in order, [sum of H * W / 784, width]; images of one size go through the tower as one
        batch.
        """
        groups = [images] if isinstance(images, Tensor) else list(images)
        by_size: dict[tuple[int, int], list[int]] = {}
        for index, group in enumerate(groups):
            by_size.setdefault((group.shape[-2], group.shape[-1]), []).append(index)
        tokens: list[Tensor] = [groups[0]] * len(groups)
        for indices in by_size.values():
            batch = groups[indices[0]] if len(indices) == 1 else torch.cat([groups[index] for index in indices])
            features = self.connect(self.model.vision_model(batch), batch.shape[-2:])
            parts = features.split([len(groups[index]) for index in indices])
            for index, part in zip(indices, parts, strict=True):
                tokens[index] = part.flatten(0, 1)
        return tokens[0] if len(tokens) == 1 else torch.cat(tokens)

    def connect(self, features: Tensor, size: Sequence[int]) -> Tensor:
        """Patch features [N, P, width] of H x W pixels to language tokens [N, P / 4, text width]: 2 x 2 patches become
        one token.
        """
        rows, columns = size[0] // self.patch_size, size[1] // self.patch_size
        grid = features.transpose(1, 2).reshape(len(features), -1, rows, columns)
        return self.model.mlp1(F.pixel_unshuffle(grid, 2).flatten(2).transpose(1, 2))

    def embed(self, input_ids: Tensor, features: Tensor, layout: BatchLayout) -> tuple[Tensor, Tensor]:
        """Embeddings [B, L, width] with the images' features [T, width] in place, and their positions, bool [B, L].

        Raises:
            DataError: the prompts' number of image tokens differs from the number of image features.
        """
        embeddings = self.model.language_model.model.embed_tokens(input_ids)
        image_mask = input_ids == self.image_token
        features = features.to(embeddings.dtype)
        if layout.image_total != len(features):
            raise DataError(
                f"the prompts have {layout.image_total} image tokens for {len(features)} image features; check the "
                "image sizes"
            )
        return embeddings.masked_scatter(image_mask[..., None], features), image_mask

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, images: Images, layout: BatchLayout
    ) -> tuple[Tensor, Tensor]:
        """Features [B, L, width] (padded positions are meaningless) and the mask of image tokens, bool [B, L]."""
        embeddings, image_mask = self.embed(input_ids, self.image_tokens(images), layout)
        return self.model.language_model.model(embeddings, attention_mask if layout.padded else None), image_mask
