"""The diffusion transformer of the GR00T N1 action head (after Peebles and Xie, "Scalable Diffusion Models with
Transformers", 2023).

Odd blocks attend to the state and action tokens themselves; even ones attend to the backbone's features,
alternating between text and images. The time modulates the norm before each attention and the last norm. Parameters are
named as in NVIDIA's checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groot_ray.errors import DataError
from groot_ray.model.shared.batch_layout import BatchLayout, TokenCount
from groot_ray.model.shared.sizes import DitSize

KeysValues = tuple[Tensor, Tensor]


class Source(NamedTuple):
    """What a cross-attention block attends to: features [B, S, width], and a mask bool [B, 1, 1, S] that is False
    for those to ignore, None to attend to all.
    """

    features: Tensor
    mask: Tensor | None


class Context(NamedTuple):
    """What the cross-attention blocks attend to: the text tokens' features in some blocks, the image tokens' in the
    others.
    """

    text: Source
    image: Source


class TimestepEmbedder(nn.Module):
    """Holds the two layers under the checkpoint's names."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(256, width)
        self.linear_2 = nn.Linear(width, width)


class TimestepEncoder(nn.Module):
    """Integer times to vectors: 256 channels, cosines first, then two layers with a SiLU between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.timestep_embedder = TimestepEmbedder(width)

    def forward(self, step: Tensor) -> Tensor:
        """Map integer times [B] to floats [B, width] of the weights' dtype."""
        layers = self.timestep_embedder
        frequency = torch.exp(-math.log(10000.0) * torch.arange(128, dtype=torch.float32, device=step.device) / 127)
        angles = step.float()[:, None] * frequency
        x = torch.cat([angles.cos(), angles.sin()], -1).to(layers.linear_1.weight.dtype)
        return layers.linear_2(F.silu(layers.linear_1(x)))


class AdaNorm(nn.Module):
    """Layer norm with scale and shift (in this order) from the time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2 * width)

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        """Normalize tokens [B, T, width] with scale and shift of the time [B, width], in the inputs' dtype."""
        scale, shift = self.linear(F.silu(temb)).chunk(2, -1)
        return F.layer_norm(x, x.shape[-1:], eps=1e-5) * (1 + scale[:, None]) + shift[:, None]


class Attention(nn.Module):
    """Attention with biases; keys and values are passed in, so that the backbone's are computed only once."""

    def __init__(self, width: int, heads: int, kv_width: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width)
        self.to_k = nn.Linear(kv_width, width)
        self.to_v = nn.Linear(kv_width, width)
        self.to_out = nn.ModuleList([nn.Linear(width, width), nn.Dropout(dropout)])

    def keys_values(self, context: Tensor) -> KeysValues:
        """Keys and values of a float context [B, T, width], each [B, heads, T, width / heads] of the same dtype."""
        b, t, _ = context.shape
        return (
            self.to_k(context).view(b, t, self.heads, -1).transpose(1, 2),
            self.to_v(context).view(b, t, self.heads, -1).transpose(1, 2),
        )

    def forward(self, x: Tensor, keys_values: KeysValues, mask: Tensor | None) -> Tensor:
        """Attend from tokens [B, T, width]. `mask` is bool, True where a key is visible, [B, 1, 1, S];
        with None all are visible.
        """
        b, t, d = x.shape
        k, v = keys_values
        q = self.to_q(x).view(b, t, self.heads, -1).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        y = y.transpose(1, 2).reshape(b, t, d)
        return self.to_out[1](self.to_out[0](y))


class Gelu(nn.Module):
    """A layer with a tanh-approximated GELU."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, inner)

    def forward(self, x: Tensor) -> Tensor:
        """Map floats [B, T, width] to [B, T, inner] of the same dtype."""
        return F.gelu(self.proj(x), approximate="tanh")


class FeedForward(nn.Module):
    """Two layers, four times as wide between them, each followed by dropout."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.net = nn.ModuleList(
            [Gelu(width, 4 * width), nn.Dropout(dropout), nn.Linear(4 * width, width), nn.Dropout(dropout)]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map floats [B, T, width] to the same shape and dtype."""
        for part in self.net:
            x = part(x)
        return x


class Block(nn.Module):
    """Attention and feed-forward, each with a residual."""

    def __init__(self, width: int, heads: int, kv_width: int, dropout: float, final_dropout: bool) -> None:
        super().__init__()
        self.norm1 = AdaNorm(width)
        self.attn1 = Attention(width, heads, kv_width, dropout)
        self.final_dropout = nn.Dropout(dropout if final_dropout else 0.0)
        self.ff = FeedForward(width, dropout)

    def forward(self, x: Tensor, temb: Tensor, source: Source | None, keys_values: KeysValues | None = None) -> Tensor:
        """Map float tokens [B, T, width] to the same shape and dtype.

        Without a `source` the block attends to the tokens themselves.

        `keys_values` are those of the source, if computed before.
        """
        n = self.norm1(x, temb)
        if keys_values is None:
            keys_values = self.attn1.keys_values(n if source is None else source.features)
        x = x + self.final_dropout(self.attn1(n, keys_values, None if source is None else source.mask))
        return x + self.ff(F.layer_norm(x, x.shape[-1:], eps=1e-5))


class DiT(nn.Module):
    """State and action tokens, time and backbone features to hidden vectors."""

    def __init__(self, size: DitSize) -> None:
        super().__init__()
        width = size.width
        self.size = size
        self.timestep_encoder = TimestepEncoder(width)
        self.transformer_blocks = nn.ModuleList(
            Block(width, size.heads, width if self.is_self(k) else size.features, size.dropout, size.final_dropout)
            for k in range(size.layers)
        )
        self.proj_out_1 = nn.Linear(width, 2 * width)
        self.proj_out_2 = nn.Linear(width, size.output)

    def is_self(self, k: int) -> bool:
        """Whether block `k` attends to the tokens themselves."""
        return self.size.interleave and k % 2 == 1

    def context(self, features: Tensor, attention_mask: Tensor, image_mask: Tensor, layout: BatchLayout) -> Context:
        """Split features [B, L, width] by bool masks [B, L] into those of text and of images.

        Each block sees only one kind, so keys and values of the other need not be computed. A plain (not
        alternating) transformer sees all tokens and ignores all masks, padding included, as the reference does.

        Raises:
            DataError: a sample has no token of a kind, and its attention would be empty.
        """
        if not self.size.alternate:
            return Context(Source(features, None), Source(features, None))
        if min(layout.text.least, layout.image.least) == 0:
            kind = "image" if layout.image.least == 0 else "text"
            raise DataError(
                f"a sample of the batch has no {kind} token in its prompt; every sample needs text and an image"
            )
        return Context(
            _pick(features, attention_mask & ~image_mask, layout.text),
            _pick(features, attention_mask & image_mask, layout.image),
        )

    def source(self, k: int, context: Context) -> Source | None:
        """What block `k` attends to; None for the tokens themselves."""
        if self.is_self(k):
            return None
        return context.text if k % (2 * self.size.attend_text_every) == 0 else context.image

    def keys_values(self, context: Context) -> list[KeysValues | None]:
        """Keys and values of each block's source, to be computed once for all denoising steps."""
        sources = [self.source(k, context) for k in range(len(self.transformer_blocks))]
        blocks = cast("list[Block]", list(self.transformer_blocks))
        return [
            None if source is None else block.attn1.keys_values(source.features)
            for block, source in zip(blocks, sources, strict=True)
        ]

    def forward(
        self, x: Tensor, step: Tensor, context: Context, keys_values: Sequence[KeysValues | None] | None = None
    ) -> Tensor:
        """Map tokens [B, T, width] at integer times [B] to [B, T, output_dim].

        `keys_values` are those of the context, if computed before.
        """
        temb = self.timestep_encoder(step)
        for k, block in enumerate(self.transformer_blocks):
            x = block(x, temb, self.source(k, context), None if keys_values is None else keys_values[k])
        shift, scale = self.proj_out_1(F.silu(temb)).chunk(2, -1)
        x = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale[:, None]) + shift[:, None]
        return self.proj_out_2(x)


def _pick(features: Tensor, mask: Tensor, count: TokenCount) -> Source:
    """The features [B, L, width] selected by a mask bool [B, L], packed to [B, count.most, width], and masked where a
    sample has fewer.
    """
    if count.least == mask.shape[1]:
        return Source(features, None)
    order = mask.byte().argsort(dim=1, descending=True, stable=True)[:, : count.most]
    picked = features.gather(1, order[..., None].expand(-1, -1, features.shape[-1]))
    return Source(picked, None if count.least == count.most else mask.gather(1, order)[:, None, None, :])
