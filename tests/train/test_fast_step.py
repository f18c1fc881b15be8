"""The fast step against the eager one: same losses, weights and checkpoints. On a GPU also compiled and captured."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.model.n1d6.family import FAMILY
from groot_ray.model.shared.batch_layout import batch_layout
from groot_ray.model.shared.network import PolicyNetwork
from groot_ray.model.shared.trainable import apply_tune_flags
from groot_ray.model.shared.tune import TuneFlags
from groot_ray.model.shared.weights import apply_dtype_policy
from groot_ray.train.step.device import Precision
from groot_ray.train.step.fast.adamw import Update, update_row
from groot_ray.train.step.fast.learner import FastLearner
from groot_ray.train.step.fast.rows import Row
from groot_ray.train.step.fast.shapes import Shapes
from groot_ray.train.step.fast.twin import make_twin
from groot_ray.train.step.learner import Learner
from groot_ray.train.step.loader import MicroBatch
from groot_ray.train.step.parallel import Single

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ON_GPU = pytest.mark.skipif(DEVICE.type == "cpu", reason="needs a GPU")
EMBODIMENT, RATE, DECAY = 10, 1e-3, 1e-5


def new_network(dropout: float = 0.0, seed: int = 0, **flags: Any) -> PolicyNetwork:
    network = FAMILY.new_network("tiny", seed)
    apply_tune_flags(network, TuneFlags(tune_top_llm_layers=2, **flags))
    apply_dtype_policy(network, "reference")
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    return network.to(DEVICE)


def micro_batch(seed: int, samples: int = 2, text: int = 12, mixed: bool = False) -> MicroBatch:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(10, 400, (samples, text + 4), generator=generator)
    ids[:, -6:-2] = 500
    mask = torch.ones_like(ids)
    if mixed:
        for row in range(1, samples):
            mask[row, : row % 5] = 0
    batch = {
        "input_ids": ids,
        "attention_mask": mask,
        "pixel_values": torch.rand(samples, 3, 56, 56, generator=generator) * 2 - 1,
        "state": torch.randn(samples, 1, 128, generator=generator),
        "action": torch.randn(samples, 50, 128, generator=generator),
        "action_mask": torch.ones(samples, 50, 128),
        "embodiment_id": torch.full((samples,), EMBODIMENT),
    }
    layout = batch_layout(batch, 500)
    draws = {
        "noise": torch.randn(samples, 50, 128, generator=generator),
        "time": torch.rand(samples, generator=generator),
    }
    count = float(batch["action_mask"].sum())
    inputs: dict[str, Any] = {name: value.to(DEVICE) for name, value in batch.items()}
    moved = {name: value.to(DEVICE) for name, value in draws.items()}
    return MicroBatch({**inputs, "batch_layout": layout}, moved, count, samples)


def precision(autocast: bool = True) -> Precision:
    return Precision(autocast, DEVICE)


def eager(**options: Any) -> Learner:
    return Learner.build(new_network(**options), Single(), RATE, DECAY, unused_parameters=False)


def fast(autocast: bool = True, **options: Any) -> FastLearner:
    capture = DEVICE.type == "cuda"
    network = new_network(**options)
    return FastLearner(network, RATE, DECAY, precision(autocast), EMBODIMENT, capture=capture, demanded=capture)


def step(learner: Learner, number: int, batches: list[MicroBatch], autocast: bool = True) -> float:
    valid = sum(batch.mask_sum for batch in batches)
    loss = torch.zeros((), dtype=torch.float64, device=DEVICE)
    for micro, batch in enumerate(batches):
        torch.manual_seed(1000 * number + micro)
        scale = torch.full((), 1 / valid, device=DEVICE)
        loss += learner.accumulate(batch, scale, precision(autocast), last=batch is batches[-1])
    learner.update(RATE, 1.0)
    return float(loss) / valid


def same_tensors(one: Learner, other: Learner, tolerance: float) -> None:
    first, second = one.snapshot(), other.snapshot()
    assert first is not None and second is not None and first.optimizer.keys() == second.optimizer.keys()
    for left, right in ((first.weights, second.weights), (first.optimizer, second.optimizer)):
        for name, value in left.items():
            torch.testing.assert_close(
                right[name], value, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
            )


TOLERANCE = 0.0 if DEVICE.type == "cpu" else 2e-2  # compiled kernels round elsewhere


@pytest.mark.parametrize("accumulation", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_losses_weights_and_moments_are_those_of_the_eager_step(accumulation: int) -> None:
    plain, quick = eager(), fast()
    for number in range(2):
        batches = [micro_batch(10 * number + micro) for micro in range(accumulation)]
        assert step(quick, number, batches) == pytest.approx(step(plain, number, batches), rel=TOLERANCE or 1e-12)
    same_tensors(plain, quick, TOLERANCE)


def test_a_run_changes_between_eager_and_fast_and_back() -> None:
    plain, quick, later = eager(), fast(), eager()
    batches = [micro_batch(number) for number in range(4)]
    reference = eager()
    expected = [step(reference, number, [batch]) for number, batch in enumerate(batches)]
    found = [step(plain, 0, batches[:1])]
    handed = plain.snapshot()
    assert handed is not None
    quick.load(handed)
    found += [step(quick, number, [batches[number]]) for number in (1, 2)]
    handed = quick.snapshot()
    assert handed is not None
    later.load(handed)
    found.append(step(later, 3, batches[3:]))
    assert found == pytest.approx(expected, rel=TOLERANCE or 1e-12)


@pytest.mark.slow
def test_a_resumed_fast_run_is_exact_with_dropout() -> None:
    whole, begun, resumed = (fast(dropout=0.2) for _ in range(3))
    for number in range(3):
        step(whole, number, [micro_batch(number)])
    for number in range(2):
        step(begun, number, [micro_batch(number)])
    handed = begun.snapshot()
    assert handed is not None
    resumed.load(handed)
    step(resumed, 2, [micro_batch(2)])
    same_tensors(whole, resumed, 0.0)


def test_other_embodiments_keep_their_weights() -> None:
    network = new_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    quick = FastLearner(network, RATE, 0.1, precision(), EMBODIMENT, capture=False)
    step(quick, 0, [micro_batch(0)])
    name = "action_head.state_encoder.layer1.W"
    after = network.get_parameter(name).detach()
    others = [number for number in range(len(after)) if number != EMBODIMENT]
    assert torch.equal(after[others], before[name][others])
    assert not torch.equal(after[EMBODIMENT], before[name][EMBODIMENT])
    snapshot = quick.snapshot()
    assert snapshot is not None and snapshot.optimizer[f"exp_avg.{name}"].shape == after.shape


@pytest.mark.parametrize("flags", [{}, {"tune_llm": True}, {"tune_visual": True}, {"tune_projector": False}])
def test_regions_give_the_loss_and_the_gradients_of_the_network(flags: dict[str, bool]) -> None:
    plain, quick = (
        eager(**flags),
        FastLearner(new_network(**flags), RATE, DECAY, precision(), EMBODIMENT, capture=False),
    )
    batch = micro_batch(0)
    assert step(quick, 0, [batch]) == pytest.approx(step(plain, 0, [batch]), rel=1e-6)
    same_tensors(plain, quick, 1e-6)


def test_padding_to_common_lengths_changes_no_loss() -> None:
    network = new_network().float().eval()
    shapes, lengths = Shapes(None), []
    for seed, text, mixed in ((0, 12, False), (1, 12, True), (2, 20, True), (3, 14, False)):
        batch = micro_batch(seed, text=text, mixed=mixed)
        shaped = shapes(batch.inputs)
        lengths.append(shaped["input_ids"].shape[1])
        with torch.no_grad():
            expected = network(batch.inputs, **batch.draws)["loss_sum"]
            assert float(network(shaped, **batch.draws)["loss_sum"]) == pytest.approx(float(expected), rel=1e-5)
    assert lengths == [16, 20, 36, 36]  # 4 image tokens; text exactly, then multiples of 16 that only grow


def test_a_batch_of_another_embodiment_is_rejected() -> None:
    with pytest.raises(DataError, match=r"embodiments \[10\], but the run trains embodiment 3"):
        Shapes(3)(micro_batch(0).inputs)


def test_the_twin_shares_what_is_frozen_and_follows_the_masters() -> None:
    network = new_network()
    twin, trained = make_twin(network, EMBODIMENT, half=True)
    own = dict(network.named_parameters())
    for name, parameter in twin.named_parameters():
        if not own[name].requires_grad and "action_head" not in name:
            assert parameter is own[name]
    assert {one.name for one in trained} == {name for name, p in own.items() if p.requires_grad}
    one = next(one for one in trained if one.name.endswith("action_decoder.layer2.W"))
    assert one.copied and one.used.dtype == torch.bfloat16 and one.master.shape[0] == 1
    assert one.master.data_ptr() == own[one.name][EMBODIMENT].data_ptr()


def rows(gradient: torch.dtype, copied: bool, sizes: tuple[int, ...] = (3, 512, 1500)) -> list[Row]:
    generator = torch.Generator().manual_seed(0)

    def drawn(size: int) -> torch.Tensor:
        return torch.randn(size, generator=generator).to(DEVICE)

    return [
        Row(
            drawn(size),
            drawn(size).to(gradient),
            torch.zeros(size, device=DEVICE),
            torch.zeros(size, device=DEVICE),
            torch.zeros(size, dtype=torch.bfloat16, device=DEVICE) if copied else None,
            0.1 * index,
            torch.zeros((), device=DEVICE),
        )
        for index, size in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    ("gradient", "copied"), [(torch.float32, False), (torch.float32, True), (torch.bfloat16, True)]
)
def test_the_update_is_that_of_torch(gradient: torch.dtype, copied: bool) -> None:
    ours = rows(gradient, copied)
    theirs = [torch.nn.Parameter(row.master.clone()) for row in ours]
    groups = [{"params": [p], "weight_decay": row.decay} for p, row in zip(theirs, ours, strict=True)]
    optimizer = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.999), eps=1e-8)
    update = Update(ours)
    for _ in range(5):
        for parameter, row in zip(theirs, ours, strict=True):
            parameter.grad = row.gradient.float().clone()
        expected = torch.nn.utils.clip_grad_norm_(theirs, 1.0)
        optimizer.step()
        torch.testing.assert_close(update(1e-2, 1.0), expected)
    for parameter, row in zip(theirs, ours, strict=True):
        torch.testing.assert_close(row.master, parameter.detach(), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(row.squares, optimizer.state[parameter]["exp_avg_sq"], rtol=1e-5, atol=1e-12)
        if row.copy is not None:
            assert torch.equal(row.copy, row.master.bfloat16())


@ON_GPU
def test_the_kernel_does_what_plain_torch_does() -> None:
    kernel, plain = rows(torch.bfloat16, True), rows(torch.bfloat16, True)
    update = Update(kernel)
    for _ in range(3):
        norm = update(1e-2, 1.0)
        for row in plain:
            row.step.add_(1.0)
            update_row(row, 1e-2, (1.0 / (norm + 1e-6)).clamp(max=1.0))
    for one, other in zip(kernel, plain, strict=True):
        torch.testing.assert_close(one.master, other.master, rtol=1e-6, atol=1e-7)


@ON_GPU
def test_mixed_prompts_are_captured_in_few_shapes() -> None:
    plain, quick = eager(), fast()
    for number in range(6):
        batch = micro_batch(number, text=12 + number % 3, mixed=True)
        assert step(quick, number, [batch]) == pytest.approx(step(plain, number, [batch]), rel=TOLERANCE)
    assert len(quick.captured) == 1


def test_what_cannot_be_captured_is_an_error_if_demanded() -> None:
    network = new_network()
    quick = FastLearner(network, RATE, DECAY, precision(), EMBODIMENT, capture=True, demanded=True)
    batch = micro_batch(0)
    batch.inputs["pixel_values"] = list(batch.inputs["pixel_values"].split(1))
    with pytest.raises(
        ConfigurationError, match="2 samples with 16 tokens cannot be compiled .images of several sizes"
    ):
        step(quick, 0, [batch])
