"""Decay groups, AdamW, and the learning rate as a function of the step."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from groot_ray.model.n1d6.family import FAMILY
from groot_ray.model.n1d6.network import Gr00tN1d6
from groot_ray.model.shared.trainable import apply_tune_flags
from groot_ray.model.shared.tune import TuneFlags
from groot_ray.train.order.phases import learning_rate
from groot_ray.train.step.optimizer import build_adamw, decays, parameter_groups

RECORDED = Path(__file__).resolve().parents[1] / "fixtures" / "groot_n1d6" / "model"


def test_decay_and_training_are_those_of_the_reference_for_every_parameter() -> None:
    config = FAMILY.read_config(RECORDED)
    with torch.device("meta"):
        model = Gr00tN1d6(config)
    apply_tune_flags(model, TuneFlags(tune_top_llm_layers=config.tune_top_llm_layers))
    recorded = json.loads((RECORDED / "param_info.json").read_text())
    assert decays(model) == {name: entry["decay"] for name, entry in recorded.items()}
    decayed, spared = parameter_groups(model, 0.1)
    trainable = {name for name, entry in recorded.items() if entry["trainable"]}
    assert set(decayed["names"]) | set(spared["names"]) == trainable
    assert all(recorded[name]["decay"] for name in decayed["names"]) and decayed["weight_decay"] == 0.1
    assert not any(recorded[name]["decay"] for name in spared["names"]) and spared["weight_decay"] == 0.0
    assert len(decayed["params"]) == len(decayed["names"])


def test_parameters_that_sound_exempt_but_decay() -> None:
    decay = decays(FAMILY.new_network("tiny", 0, state_dropout_prob=0.1))
    head, layer = "action_head.", "backbone.model.language_model.model.layers.0."
    assert decay[head + "mask_token"] and decay[head + "position_embedding.weight"]
    assert decay[head + "state_encoder.layer1.b"] and decay[layer + "self_attn.q_norm.weight"]
    assert not decay[layer + "input_layernorm.weight"] and not decay[head + "vlln.weight"]


def test_a_step_without_gradient_shrinks_the_decayed_alone() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = build_adamw(model, 0.1, 0.5)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name] * (0.95 if name == "0.weight" else 1.0))
    assert all(group["betas"] == (0.9, 0.999) and group["eps"] == 1e-8 for group in optimizer.param_groups)


@given(max_steps=st.integers(1, 3000), ratio=st.floats(0.0, 1.0), peak=st.floats(1e-6, 1.0))
def test_the_rate_rises_to_its_peak_and_falls_to_nothing(max_steps: int, ratio: float, peak: float) -> None:
    warmup = math.ceil(ratio * max_steps)
    rates = [learning_rate(step, max_steps, ratio, peak) for step in range(max_steps + 1)]
    assert all(0 <= rate <= peak for rate in rates)
    assert all(a < b for a, b in itertools.pairwise(rates[: warmup + 1]))
    assert all(a >= b for a, b in itertools.pairwise(rates[warmup:]))
    assert warmup == 0 or rates[0] == 0.0
    if warmup < max_steps:
        assert rates[warmup] == peak and rates[max_steps] == pytest.approx(0.0, abs=peak * 1e-12)


def test_the_rate_is_that_of_the_usual_schedule() -> None:
    transformers = pytest.importorskip("transformers")
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight], lr=1e-4)
    scheduler = transformers.get_cosine_schedule_with_warmup(optimizer, math.ceil(0.05 * 130), 130)
    for step in range(130):
        assert learning_rate(step, 130, 0.05, 1e-4) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-12, abs=0)
        optimizer.step()
        scheduler.step()
