"""Shared by training tests: a small model's configuration, a lease that always holds, checkpoint comparisons."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BASE_CONFIG: dict[str, Any] = {
    "max_state_dim": 32,
    "max_action_dim": 32,
    "action_horizon": 16,
    "backbone_embedding_dim": 32,
    "hidden_size": 32,
    "input_embedding_dim": 48,
    "select_layer": 2,
    "tune_top_llm_layers": 1,
    "max_seq_len": 32,
    "diffusion_model_cfg": {
        "positional_embeddings": None,
        "num_layers": 4,
        "num_attention_heads": 2,
        "attention_head_dim": 24,
        "norm_type": "ada_norm",
        "dropout": 0.1,
        "final_dropout": True,
        "output_dim": 32,
        "interleave_self_attention": True,
    },
    "eagle_overrides": {
        "vision": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_patches": 256,
        },
        "text": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "vocab_size": 512,
            "max_position_embeddings": 512,
        },
        "top": {"image_token_index": 500},
    },
}


class NoLease:
    """A lease that always holds."""

    def check(self) -> None:
        return None


@dataclass
class Recorder:
    """Records a worker's events."""

    events: list[dict[str, Any]] = field(default_factory=list)

    def host(self, lease: Any = None) -> Any:
        from groot_ray.train.worker import Host

        return Host(lease or NoLease(), threads=1, send=self.events.append)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["kind"] == kind]

    @property
    def losses(self) -> dict[int, float]:
        """Loss by step."""
        return {event["step"]: event["loss"] for event in self.of("line")}


def tensors(folder: Path) -> dict[str, Any]:
    """All tensors of a checkpoint folder, weights and optimizer."""
    from safetensors.torch import load_file

    return {name: value for file in sorted(folder.glob("*.safetensors")) for name, value in load_file(file).items()}


def largest_difference(one: Path, other: Path) -> float:
    """Largest absolute difference between two checkpoints, which must have the same tensors."""
    a, b = tensors(one), tensors(other)
    assert a.keys() == b.keys()
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)


def history(folder: Path) -> dict[int, float]:
    """Loss by step in a checkpoint's trainer_state.json."""
    state = json.loads((folder / "trainer_state.json").read_text())
    return {line["step"]: line["loss"] for line in state["log_history"]}
