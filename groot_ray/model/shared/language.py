"""The Qwen3 language model (Qwen Team, 2025), cut to its first layers; its output layer is stored and never evaluated.

Positions are 0..L-1 and count the left padding, which has no effect because rotary positions are relative. Parameters
are named as in NVIDIA's checkpoints.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groot_ray.model.shared.sizes import TextSize


class RmsNorm(nn.Module):
    """Root-mean-square norm, computed in float32 and cast back before the weight is applied."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalize [..., width]; the result has the input's dtype (Zhang and Sennrich, 2019)."""
        y = x.float()
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * y.to(x.dtype)


def rotary(length: int, width: int, theta: float, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary positions, each [length, width] of `dtype` (Su et al., 2021)."""
    inverse = 1.0 / (theta ** (torch.arange(0, width, 2, dtype=torch.float32, device=device) / width))
    angles = torch.arange(length, dtype=torch.float32, device=device)[:, None] * inverse
    angles = torch.cat([angles, angles], -1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary positions to floats [B, heads, L, width]; a pair is one element from each half of a vector."""
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


class Attention(nn.Module):
    """Grouped-query attention with norms on queries and keys."""

    def __init__(self, size: TextSize) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.width = size.num_attention_heads, size.num_key_value_heads, size.head_dim
        self.q_proj = nn.Linear(size.hidden_size, self.heads * self.width, bias=False)
        self.k_proj = nn.Linear(size.hidden_size, self.kv_heads * self.width, bias=False)
        self.v_proj = nn.Linear(size.hidden_size, self.kv_heads * self.width, bias=False)
        self.o_proj = nn.Linear(self.heads * self.width, size.hidden_size, bias=False)
        self.q_norm = RmsNorm(self.width, size.rms_norm_eps)
        self.k_norm = RmsNorm(self.width, size.rms_norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        """Map floats [B, L, width] to the same shape and dtype. `cos` and `sin` are [L, head_dim].

        `mask` is bool [B, 1, L, L], True where a key is visible; None means causal without padding, which is faster.
        """
        b, t, _ = x.shape
        q = self.q_norm(self.q_proj(x).view(b, t, self.heads, -1)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).view(b, t, self.kv_heads, -1)).transpose(1, 2)
        v = self.v_proj(x).view(b, t, self.kv_heads, -1).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if mask is None:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        else:  # the kernels that take a mask do not take grouped heads
            k, v = (heads.repeat_interleave(self.heads // self.kv_heads, dim=1) for heads in (k, v))
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.o_proj(y.transpose(1, 2).reshape(b, t, -1))


class Mlp(nn.Module):
    """SwiGLU."""

    def __init__(self, size: TextSize) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(size.hidden_size, size.intermediate_size, bias=False)
        self.up_proj = nn.Linear(size.hidden_size, size.intermediate_size, bias=False)
        self.down_proj = nn.Linear(size.intermediate_size, size.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map floats [B, L, width] to the same shape and dtype (Shazeer, 2020)."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """A pre-norm block."""

    def __init__(self, size: TextSize) -> None:
        super().__init__()
        self.self_attn = Attention(size)
        self.mlp = Mlp(size)
        self.input_layernorm = RmsNorm(size.hidden_size, size.rms_norm_eps)
        self.post_attention_layernorm = RmsNorm(size.hidden_size, size.rms_norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        """Map floats [B, L, width] to the same shape and dtype; the other arguments are those of `Attention`."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Embeddings, the kept layers and the final norm."""

    def __init__(self, size: TextSize, layers: int) -> None:
        super().__init__()
        self.size = size
        self.embed_tokens = nn.Embedding(size.vocab_size, size.hidden_size)
        self.layers = nn.ModuleList(Layer(size) for _ in range(layers))
        self.norm = RmsNorm(size.hidden_size, size.rms_norm_eps)

    def forward(self, embeds: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Map embeddings [B, L, width] to the final norm's output [B, L, width].

        `attention_mask` is bool [B, L] with the padding on the left; None where nothing is padded, which is faster.
        """
        return self.norm(self.run(embeds, attention_mask, 0, len(self.layers)))

    def run(self, hidden: Tensor, attention_mask: Tensor | None, first: int, end: int) -> Tensor:
        """Pass [B, L, width] through layers `first` to `end - 1`: frozen lower layers can be run apart from those that
        train.
        """
        length = hidden.shape[1]
        cos, sin = rotary(length, self.size.head_dim, self.size.rope_theta, hidden.device, hidden.dtype)
        mask = None if attention_mask is None else causal_mask(attention_mask)
        for layer in self.layers[first:end]:
            hidden = layer(hidden, cos, sin, mask)
        return hidden


def causal_mask(attention_mask: Tensor) -> Tensor:
    """Which keys a query sees, bool [B, 1, L, L]; a padded query sees itself, so that no row of the
    softmax is empty.
    """
    length = attention_mask.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=attention_mask.device).tril()
    itself = torch.eye(length, dtype=torch.bool, device=attention_mask.device)
    return (causal & attention_mask[:, None, None, :]) | itself


class LanguageModel(nn.Module):
    """Holds decoder and output layer under the checkpoint's names."""

    def __init__(self, size: TextSize, layers: int) -> None:
        super().__init__()
        self.model = Decoder(size, layers)
        self.lm_head = nn.Linear(size.hidden_size, size.vocab_size, bias=False)  # untied in checkpoints
