"""Sizes of the parts that families share, as plain data: a family's configuration makes them, the parts are built from
them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TextSize:
    """Sizes of a Qwen3 language model.

    `num_hidden_layers` counts the published model, of which a family keeps the first.
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_theta: float


@dataclass(frozen=True)
class DitSize:
    """Sizes of a diffusion transformer.

    Attributes:
        features: width of the backbone's features, which every block but the self-attention ones attends to.
        interleave: odd blocks attend to the state and action tokens themselves.
        alternate: cross-attention blocks see text or images in turn; else all tokens.
        attend_text_every: every n-th cross-attention block sees the text, the others the images.
    """

    layers: int
    heads: int
    head_dim: int
    features: int
    output: int
    dropout: float
    final_dropout: bool
    interleave: bool
    alternate: bool
    attend_text_every: int

    @property
    def width(self) -> int:
        """Width of the tokens."""
        return self.heads * self.head_dim


@dataclass(frozen=True)
class HeadSize:
    """Sizes of a flow-matching action head.

    Attributes:
        embodiments: number of embodiments with their own weights.
        state_dim, action_dim: padded widths.
        hidden: width inside the encoders' and the decoder's layers.
        positions: length of the action tokens' position table; None for none.
        normalize_features: whether a layer norm comes before the transformer's cross-attention (vlln).
    """

    dit: DitSize
    embodiments: int
    state_dim: int
    action_dim: int
    hidden: int
    positions: int | None
    normalize_features: bool
