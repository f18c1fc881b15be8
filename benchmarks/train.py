"""Speed of the training step on one GPU: ``python -m benchmarks.train --batch 64 --views 1`` prints a table.

The model has full size and fresh weights; batches of random numbers are on the GPU already. A step is what `finetune`
runs: forward and backward pass, clipping, AdamW. Each shape is run eagerly and compiled, from the same weights and on
the same batches, and the losses are compared; ``--no-dropout`` makes them comparable step by step.

MFU = operations of the matrix products and attention of forward and backward pass, as torch's FlopCounterMode counts
them, over time and over the GPU's dense bf16 peak.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.turns import print_table
from groot_ray.model.family import family_with_size
from groot_ray.model.shared.batch_layout import batch_layout
from groot_ray.model.shared.network import PolicyNetwork
from groot_ray.model.shared.trainable import apply_tune_flags
from groot_ray.model.shared.tune import TuneFlags
from groot_ray.model.shared.weights import apply_dtype_policy
from groot_ray.train.step.device import Precision, peak_flops, training_precision
from groot_ray.train.step.fast.learner import FastLearner
from groot_ray.train.step.learner import Learner
from groot_ray.train.step.loader import MicroBatch
from groot_ray.train.step.parallel import Single

TEXT, TOKENS, SIDE, EMBODIMENT = 60, 81, 252, 10
RATE, DECAY, NORM = 1e-4, 1e-5, 1.0


def fresh_network(size: str, device: torch.device, dropout: bool) -> PolicyNetwork:
    """The model with the default parts in training, drawn on the device itself."""
    torch.manual_seed(0)
    family = family_with_size(size)
    with torch.device(device):
        network = family.build_network(family.new_config(size))
    apply_tune_flags(network, TuneFlags())
    apply_dtype_policy(network, "reference")
    if not dropout:
        for module in network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    return network


def random_batch(network: Any, samples: int, views: int, seed: int, device: torch.device) -> MicroBatch:
    """A batch of random numbers in which all prompts are equally long."""
    generator = torch.Generator().manual_seed(seed)
    config, limits = network.config, network.config.limits
    ids = torch.randint(10, 400, (samples, TEXT + TOKENS * views), generator=generator)
    ids[:, TEXT // 2 : TEXT // 2 + TOKENS * views] = config.image_token
    shape = (samples, limits.action_horizon, limits.action_dim)
    batch: dict[str, Any] = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.rand(samples * views, 3, SIDE, SIDE, generator=generator) * 2 - 1,
        "state": torch.randn(samples, 1, limits.state_dim, generator=generator),
        "action": torch.randn(shape, generator=generator),
        "action_mask": torch.ones(shape),
        "embodiment_id": torch.full((samples,), EMBODIMENT),
    }
    layout = batch_layout(batch, config.image_token)
    draws = {"noise": torch.randn(shape, generator=generator), "time": torch.rand(samples, generator=generator)}
    mask_sum = float(batch["action_mask"].sum())
    moved = {name: value.to(device) for name, value in batch.items()}
    moved["batch_layout"] = layout
    return MicroBatch(moved, {name: value.to(device) for name, value in draws.items()}, mask_sum, samples)


def take_step(learner: Learner, batch: MicroBatch, precision: Precision, step: int) -> torch.Tensor:
    """One step; returns the loss, float64 []."""
    torch.manual_seed(step)
    scale = torch.full((), 1.0 / batch.mask_sum, device=precision.device)
    loss = learner.accumulate(batch, scale, precision, last=True)
    learner.update(RATE, NORM)
    return loss / batch.mask_sum


def milliseconds(action: Callable[[], Any], repeats: int) -> float:
    """Milliseconds of one call on the GPU, the mean of `repeats` in a row."""
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(repeats):
        action()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / repeats


def measure(mode: str, options: argparse.Namespace, samples: int, views: int, device: torch.device) -> dict[str, Any]:
    """Losses of the first steps, then the time of further ones."""
    precision = training_precision("bf16", device)
    network = fresh_network(options.size, device, options.dropout)
    batches = [random_batch(network, samples, views, seed, device) for seed in range(4)]
    learner = (
        Learner.build(network, Single(), RATE, DECAY, unused_parameters=False)
        if mode == "eager"
        else FastLearner(network, RATE, DECAY, precision, EMBODIMENT, demanded=True)
    )
    begun = time.perf_counter()
    losses = [take_step(learner, batches[step % 4], precision, step) for step in range(options.check)]
    found: dict[str, Any] = {"losses": [float(loss) for loss in losses]}
    found["first seconds"] = time.perf_counter() - begun
    torch.cuda.reset_peak_memory_stats()
    steps = iter(range(options.check, 10**9))
    found["ms"] = milliseconds(
        lambda: take_step(learner, batches[(step := next(steps)) % 4], precision, step), options.steps
    )
    found["GiB"] = torch.cuda.max_memory_allocated() / 2**30
    found["samples/s"] = samples / found["ms"] * 1e3
    if isinstance(learner, FastLearner):
        found["flops"], captured = learner.flops, learner.captured[0]
        parts = {
            name: milliseconds(graph.replay, options.steps)
            for name, graph in zip(captured.names, captured.graphs, strict=True)
        }
        learner.accumulate(batches[0], torch.ones((), device=device), precision, last=True)
        kept = captured.gradients

        def update() -> None:
            learner._gradients, learner._static = kept, True
            learner.update(0.0, NORM)

        found["parts"] = {**parts, "clip and AdamW": milliseconds(update, options.steps)}
    return found


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[64], help="samples per step")
    parser.add_argument("--views", type=int, nargs="+", default=[1], help="images per sample")
    parser.add_argument("--modes", nargs="+", choices=["eager", "compiled"], default=["eager", "compiled"])
    parser.add_argument("--size", default="3b", help="size of the model")
    parser.add_argument("--steps", type=int, default=20, help="timed steps")
    parser.add_argument("--check", type=int, default=8, help="steps before, whose losses are compared")
    parser.add_argument("--no-dropout", dest="dropout", action="store_false", help="compare without dropout")
    options = parser.parse_args()
    device = torch.device("cuda", 0)
    peak = peak_flops(device)
    rows = []
    for views in options.views:
        for samples in options.batch:
            results = {}
            for mode in options.modes:
                results[mode] = measure(mode, options, samples, views, device)
                gc.collect()
                torch.cuda.empty_cache()
                print(json.dumps({"mode": mode, "batch": samples, "views": views, **results[mode]}), flush=True)
            flops = next((found["flops"] for found in results.values() if "flops" in found), None)
            for mode, found in results.items():
                mfu = f"{flops * found['samples/s'] / peak:.1%}" if flops and peak else ""
                speeds = (f"{found['samples/s']:.0f}", f"{found['ms']:.1f}", mfu, f"{found['GiB']:.1f}")
                rows.append((str(samples), str(views), mode, *speeds, f"{found['first seconds']:.0f}"))
            if len(results) == 2:
                pairs = zip(results["eager"]["losses"], results["compiled"]["losses"], strict=True)
                worst = max(abs(a - b) / abs(a) for a, b in pairs)
                print(f"batch {samples}, {views} views: losses differ by at most {worst:.2e}", flush=True)
    print(f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}, {torch.version.cuda}")
    print_table(("batch", "views", "step", "samples/s", "ms", "MFU", "GiB", "s to the first losses"), rows)


if __name__ == "__main__":
    main()
