"""The available sizes of the architecture: NVIDIA's 3B, and a tiny one that runs and learns on a laptop."""

from __future__ import annotations

from typing import Any

from groot_ray.errors import ConfigurationError, did_you_mean
from groot_ray.model.n1d6.config import Gr00tConfig

# Widths of state, action and horizon of the public checkpoint, so that both sizes share one processor.
PUBLIC: dict[str, Any] = {"max_state_dim": 128, "max_action_dim": 128, "action_horizon": 50}

_TINY: dict[str, Any] = {
    **PUBLIC,
    "backbone_embedding_dim": 96,
    "hidden_size": 128,
    "input_embedding_dim": 192,
    "select_layer": 4,
    "max_seq_len": 128,
    "diffusion_model_cfg": {
        "positional_embeddings": None,
        "num_layers": 4,
        "num_attention_heads": 6,
        "attention_head_dim": 32,
        "norm_type": "ada_norm",
        "dropout": 0.02,
        "final_dropout": True,
        "output_dim": 128,
        "interleave_self_attention": True,
    },
    # Sizes of the backbone, for which NVIDIA's config.json has no keys; their code keeps unknown keys and ignores them.
    "eagle_overrides": {
        "vision": {
            "hidden_size": 64,
            "intermediate_size": 160,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_patches": 256,
        },
        "text": {
            "hidden_size": 96,
            "intermediate_size": 256,
            "num_hidden_layers": 4,
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "head_dim": 32,
            "vocab_size": 512,
            "max_position_embeddings": 2048,
        },
        "top": {"image_token_index": 500},
    },
}

SIZES: dict[str, dict[str, Any]] = {"3b": PUBLIC, "tiny": _TINY}


def config(size: str) -> Gr00tConfig:
    """The configuration of a size; raises ConfigurationError for one that does not exist."""
    if size not in SIZES:
        raise ConfigurationError(
            f"there is no model size {size!r}{did_you_mean(size, SIZES)}; sizes are {', '.join(SIZES)}"
        )
    return Gr00tConfig.from_json(SIZES[size])
