"""The SigLIP2 vision tower of GR00T N1.6 (Tschannen et al., 2025): patches of 14 pixels, learned positions, pre-norm
blocks.

All images of one size are one batch [N, 3, H, W]; attention is full within an image. Parameters are named as in
NVIDIA's checkpoints.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groot_ray.model.n1d6.config import VisionSize


class PatchEmbeddings(nn.Module):
    """Patches, flattened as (row, column, channel), to vectors with positions."""

    def __init__(self, size: VisionSize) -> None:
        super().__init__()
        self.patch_size = size.patch_size
        self.grid = int(size.num_patches**0.5)
        self.patch_embedding = nn.Linear(3 * size.patch_size**2, size.hidden_size)
        self.position_embedding = nn.Embedding(size.num_patches, size.hidden_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map float pixels [N, 3, H, W] in [-1, 1] to [N, H / 14 * W / 14, width] of the weights' dtype, row by row."""
        n, c, h, w = pixels.shape
        p = self.patch_size
        patches = (
            pixels.reshape(n, c, h // p, p, w // p, p)
            .permute(0, 2, 4, 3, 5, 1)
            .reshape(n, (h // p) * (w // p), p * p * c)
        )
        x = self.patch_embedding(patches.to(self.patch_embedding.weight.dtype))
        return x + self.positions(h // p, w // p)

    def positions(self, rows: int, cols: int) -> Tensor:
        """The table of positions resized to a grid of patches, [1, rows * cols, width]; bilinear with antialiasing, in
        float32.
        """
        table = self.position_embedding.weight
        grid = table.float().reshape(1, self.grid, self.grid, -1).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, size=(rows, cols), mode="bilinear", align_corners=False, antialias=True)
        return grid.flatten(2).transpose(1, 2).to(table.dtype)


class VisionAttention(nn.Module):
    """Full attention within an image."""

    def __init__(self, size: VisionSize) -> None:
        super().__init__()
        d = size.hidden_size
        self.heads = size.num_attention_heads
        self.q_proj = nn.Linear(d, d)
        self.k_proj = nn.Linear(d, d)
        self.v_proj = nn.Linear(d, d)
        self.out_proj = nn.Linear(d, d)

    def forward(self, x: Tensor) -> Tensor:
        """Map float patches [N, P, width] to the same shape and dtype."""
        n, t, d = x.shape
        q, k, v = (f(x).view(n, t, self.heads, -1).transpose(1, 2) for f in (self.q_proj, self.k_proj, self.v_proj))
        y = F.scaled_dot_product_attention(q, k, v)
        return self.out_proj(y.transpose(1, 2).reshape(n, t, d))


class VisionMlp(nn.Module):
    """Two layers with a tanh-approximated GELU."""

    def __init__(self, size: VisionSize) -> None:
        super().__init__()
        self.fc1 = nn.Linear(size.hidden_size, size.intermediate_size)
        self.fc2 = nn.Linear(size.intermediate_size, size.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map float patches [N, P, width] to the same shape and dtype."""
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class VisionLayer(nn.Module):
    """A pre-norm block."""

    def __init__(self, size: VisionSize) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(size.hidden_size, eps=size.layer_norm_eps)
        self.self_attn = VisionAttention(size)
        self.layer_norm2 = nn.LayerNorm(size.hidden_size, eps=size.layer_norm_eps)
        self.mlp = VisionMlp(size)

    def forward(self, x: Tensor) -> Tensor:
        """Map float patches [N, P, width] to the same shape and dtype."""
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class VisionEncoder(nn.Module):
    """The blocks, one after the other."""

    def __init__(self, size: VisionSize) -> None:
        super().__init__()
        self.layers = nn.ModuleList(VisionLayer(size) for _ in range(size.num_hidden_layers))

    def forward(self, x: Tensor) -> Tensor:
        """Map float patches [N, P, width] to the same shape and dtype."""
        for layer in self.layers:
            x = layer(x)
        return x


class PoolingHead(nn.Module):
    """Stored in checkpoints and never used: GR00T reads all patches."""

    def __init__(self, size: VisionSize) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.randn(1, 1, size.hidden_size))
        self.attention = nn.MultiheadAttention(size.hidden_size, size.num_attention_heads, batch_first=True)
        self.layernorm = nn.LayerNorm(size.hidden_size, eps=size.layer_norm_eps)
        self.mlp = VisionMlp(size)


class VisionTransformer(nn.Module):
    """Embeddings, blocks and the last norm: pixels [N, 3, H, W] to patch features [N, P, width]."""

    def __init__(self, size: VisionSize) -> None:
        super().__init__()
        self.embeddings = PatchEmbeddings(size)
        self.encoder = VisionEncoder(size)
        self.post_layernorm = nn.LayerNorm(size.hidden_size, eps=size.layer_norm_eps)
        self.head = PoolingHead(size)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map float pixels [N, 3, H, W] in [-1, 1] to patch features [N, H / 14 * W / 14, width], float too."""
        return self.post_layernorm(self.encoder(self.embeddings(pixels)))


class VisionModel(nn.Module):
    """Holds the tower under the checkpoint's name."""

    def __init__(self, size: VisionSize) -> None:
        super().__init__()
        self.vision_model = VisionTransformer(size)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map float pixels [N, 3, H, W] in [-1, 1] to patch features [N, H / 14 * W / 14, width], float too."""
        return self.vision_model(pixels)
