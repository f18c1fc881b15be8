"""The network: names, sizes, what trains, loading and saving, and properties that its speed-ups must not break."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.model.n1d6.config import Gr00tConfig
from groot_ray.model.n1d6.family import FAMILY
from groot_ray.model.n1d6.network import Gr00tN1d6
from groot_ray.model.n1d6.sizes import config
from groot_ray.model.shared.trainable import apply_tune_flags, describe_trainable
from groot_ray.model.shared.tune import TuneFlags
from groot_ray.model.shared.weights import apply_dtype_policy, save_network, tensor_headers


@pytest.fixture(scope="module")
def tiny() -> Gr00tN1d6:
    torch.set_num_threads(1)
    return FAMILY.new_network("tiny", seed=0).eval()


def batch(samples: int = 2, embodiments: tuple[int, ...] = (20, 10)) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 256, (samples, 24), generator=rng)
    ids[:, 5:9] = 500
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.rand(samples, 3, 56, 56, generator=rng) * 2 - 1,
        "state": torch.rand(samples, 1, 128, generator=rng),
        "action": torch.rand(samples, 50, 128, generator=rng),
        "action_mask": torch.ones(samples, 50, 128),
        "embodiment_id": torch.tensor(embodiments[:samples]),
    }


def test_the_3b_model_has_the_published_size() -> None:
    with torch.device("meta"):
        model = Gr00tN1d6(config("3b"))
    apply_tune_flags(model, TuneFlags())
    parts = {part.name: part for part in describe_trainable(model)}
    assert (parts["all"].parameters, parts["all"].trainable) == (3_286_608_832, 1_619_968_000)
    assert round(parts["language model"].trainable / 1e6) == 201
    assert parts["vision tower"].trainable == parts["vision-language connector"].trainable == 0
    assert len(model.state_dict()) == 1106


def test_flags_switch_their_parts(tiny: Gr00tN1d6) -> None:
    def trained(**flags: object) -> set[str]:
        model = FAMILY.new_network("tiny", seed=0)
        apply_tune_flags(
            model,
            TuneFlags(
                **{
                    **dict.fromkeys(("tune_projector", "tune_diffusion_model", "tune_vlln"), False),
                    "tune_top_llm_layers": 0,
                    **flags,
                }
            ),
        )  # type: ignore[arg-type]
        return {part.name for part in describe_trainable(model) if part.trainable} - {"all"}

    assert trained(tune_llm=True) == {"language model"}
    assert trained(tune_visual=True) == {"vision tower", "vision-language connector"}
    assert trained(tune_top_llm_layers=1) == {"language model"}
    assert trained(tune_vlln=True) == {"layer norm of the features (vlln)"}
    assert trained(tune_diffusion_model=True) == {"diffusion transformer"}
    assert trained(tune_projector=True) == {
        "state encoder",
        "action encoder",
        "action decoder",
        "action positions and mask token",
    }
    with pytest.raises(ConfigurationError, match="nothing would train"):
        trained()
    with pytest.raises(ConfigurationError, match="the model has 4 language layers"):
        trained(tune_top_llm_layers=5)


def test_frozen_parts_are_in_evaluation_mode() -> None:
    model = FAMILY.new_network("tiny", 0)
    apply_tune_flags(model, TuneFlags(tune_diffusion_model=False))
    assert model.training and not model.action_head.model.training and not model.backbone.model.language_model.training
    assert model.action_head.state_encoder.training


def test_one_embodiment_and_mixed_batches_agree(tiny: Gr00tN1d6) -> None:
    mixed = batch()
    noise, time = torch.randn(2, 50, 128, generator=torch.Generator().manual_seed(2)), torch.tensor([0.2, 0.7])
    together = tiny(mixed, noise, time)["action_loss"]
    for row in range(2):
        alone = {key: value[row : row + 1] for key, value in mixed.items()}
        torch.testing.assert_close(
            tiny(alone, noise[row : row + 1], time[row : row + 1])["action_loss"][0],
            together[row],
            atol=2e-5,
            rtol=1e-4,
        )


def test_padding_changes_nothing(tiny: Gr00tN1d6) -> None:
    plain = batch()
    pad = torch.full((2, 7), 497)
    padded = {
        **plain,
        "input_ids": torch.cat([pad, plain["input_ids"]], dim=1),
        "attention_mask": torch.cat([torch.zeros_like(pad), plain["attention_mask"]], dim=1),
    }
    noise = torch.randn(2, 50, 128)
    torch.testing.assert_close(tiny.predict(plain, noise), tiny.predict(padded, noise), atol=1e-5, rtol=1e-4)


def test_images_of_several_sizes_equal_each_alone(tiny: Gr00tN1d6) -> None:
    images = [torch.rand(1, 3, 56, 56), torch.rand(1, 3, 84, 56), torch.rand(1, 3, 56, 56)]
    together = tiny.backbone.image_tokens(images)
    alone = torch.cat([tiny.backbone.image_tokens([image]) for image in images])
    assert together.shape == (4 + 6 + 4, tiny.config.text.hidden_size)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_images_that_do_not_fit_the_prompt_are_told(tiny: Gr00tN1d6) -> None:
    wrong = {**batch(), "pixel_values": torch.rand(2, 3, 84, 56)}
    with pytest.raises(DataError, match="8 image tokens for 12 image features"):
        tiny.predict(wrong)


def test_encoded_features_may_be_given(tiny: Gr00tN1d6) -> None:
    data, noise = batch(), torch.randn(2, 50, 128)
    assert torch.equal(tiny.predict(data, noise), tiny.predict(data, noise, encoded=tiny.encode(data)))


def test_loss_is_one_mean_over_all_valid_elements(tiny: Gr00tN1d6) -> None:
    data = batch()
    data["action_mask"][0, 8:] = 0
    out = tiny(data, torch.zeros(2, 50, 128), torch.tensor([0.5, 0.5]))
    assert torch.isclose(out["loss"], out["action_loss"].sum() / (58 * 128))
    assert not out["action_loss"][0, 8:].any()


def test_state_dropout_hides_the_state() -> None:
    model = FAMILY.new_network("tiny", 0, state_dropout_prob=1.0).eval()
    data = batch()
    other = {**data, "state": data["state"] + 1}
    noise, time = torch.zeros(2, 50, 128), torch.tensor([0.5, 0.5])
    assert torch.equal(model(data, noise, time)["loss"], model(other, noise, time)["loss"])
    assert not torch.equal(model.predict(data, noise), model.predict(other, noise))


def test_fresh_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(5)
    first = FAMILY.new_network("tiny", seed=3)
    torch.manual_seed(6)
    again, other = FAMILY.new_network("tiny", seed=3), FAMILY.new_network("tiny", seed=4)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    assert not torch.equal(first.action_head.model.proj_out_2.weight, other.action_head.model.proj_out_2.weight)


def test_shards_hold_the_same(tmp_path: Path, tiny: Gr00tN1d6) -> None:
    files = save_network(tiny, tmp_path / "shards", max_shard_bytes=8_000_000)
    assert len(files) > 3
    again = FAMILY.load_network(tmp_path / "shards")
    assert all(torch.equal(a, b) for a, b in zip(tiny.state_dict().values(), again.state_dict().values(), strict=True))
    assert set(tensor_headers(tmp_path / "shards")) == set(tiny.state_dict())
    assert FAMILY.read_config(tmp_path / "shards").to_json() == tiny.config.to_json()


def test_dtypes_of_the_policies(tmp_path: Path, tiny: Gr00tN1d6) -> None:
    save_network(tiny, tmp_path)
    flags = TuneFlags(tune_top_llm_layers=1)
    reference = FAMILY.load_network(tmp_path, dtype_policy="reference", flags=flags)
    for name, parameter in reference.named_parameters():
        frozen = name.startswith("backbone.") and ".layers.3." not in name.replace("vision_model", "")
        assert parameter.dtype == (torch.bfloat16 if frozen else torch.float32), name
    assert {p.dtype for p in FAMILY.load_network(tmp_path, dtype_policy="bf16").parameters()} == {torch.bfloat16}
    save_network(FAMILY.load_network(tmp_path, dtype_policy="bf16"), tmp_path / "half")
    assert {p.dtype for p in FAMILY.load_network(tmp_path / "half").parameters()} == {torch.float32}


def test_the_mask_token_comes_and_goes(tmp_path: Path, tiny: Gr00tN1d6) -> None:
    save_network(tiny, tmp_path / "without")
    grown = FAMILY.load_network(tmp_path / "without", state_dropout_prob=0.2)
    assert grown.action_head.mask_token is not None and bool(grown.action_head.mask_token.any())
    save_network(grown, tmp_path / "with")
    assert FAMILY.load_network(tmp_path / "with", state_dropout_prob=0.0).action_head.mask_token is None


def test_broken_checkpoints_are_told(tmp_path: Path, tiny: Gr00tN1d6) -> None:
    def broken(message: str) -> None:
        with pytest.raises(DataError, match=message):
            FAMILY.load_network(tmp_path)

    broken("config.json is missing")
    save_network(tiny, tmp_path, names=lambda name: "vlln" not in name)
    broken("lacks 2 of .* tensors, such as 'action_head.vlln.weight'")
    save_network(tiny, tmp_path)
    data = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**data, "hidden_size": 64}))
    broken("has shape .*, but config.json implies")
    (tmp_path / "config.json").write_text(json.dumps({**data, "model_type": "llama"}))
    broken("is of model type 'llama'")
    (tmp_path / "config.json").write_text(json.dumps(data))
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    broken("is not a readable safetensors file")
    (tmp_path / "model.safetensors").unlink()
    broken("has no model.safetensors")


def test_configuration_keeps_what_it_does_not_know() -> None:
    data = {"model_type": "Gr00tN1d6", "hidden_size": 40, "some_new_key": {"a": 1}}
    again = Gr00tConfig.from_json(data)
    assert again.to_json() == {"architectures": ["Gr00tN1d6"], **dict(sorted(data.items()))}
    assert again.max_seq_len == 1024


def test_frozen_parts_stay_in_evaluation_mode_when_training_begins() -> None:
    model = FAMILY.new_network("tiny", 0)
    apply_tune_flags(model, TuneFlags(tune_diffusion_model=False))
    model.eval()
    assert not model.action_head.state_encoder.training
    model.train()
    assert model.action_head.state_encoder.training and not model.action_head.model.training
    apply_tune_flags(model, TuneFlags())
    assert model.action_head.model.training


def test_layouts_given_before_are_those_found_in_the_batch(tiny: Gr00tN1d6) -> None:
    data = batch()
    data["attention_mask"][0, :3] = 0
    layout = tiny.layout(data)
    assert layout.embodiments == ((10, (1,)), (20, (0,)))
    assert (layout.padded, layout.text, layout.image, layout.image_total) == (True, (17, 20), (4, 4), 8)
    noise = torch.randn(2, 50, 128)
    assert torch.equal(tiny.predict(data, noise), tiny.predict({**data, "batch_layout": layout}, noise))


def test_a_sample_without_a_picture_is_told(tiny: Gr00tN1d6) -> None:
    data = batch()
    data["input_ids"][1, 5:9] = 3
    with pytest.raises(DataError, match="has no image token"):
        tiny.predict({**data, "pixel_values": data["pixel_values"][:1]})


def test_interleaved_embodiments_keep_their_rows(tiny: Gr00tN1d6) -> None:
    data = batch(4, (7, 2, 7, 2))
    noise = torch.randn(4, 50, 128)
    together = tiny.predict(data, noise)
    for row in range(4):
        alone = {key: value[row : row + 1] for key, value in data.items()}
        torch.testing.assert_close(tiny.predict(alone, noise[row : row + 1])[0], together[row], atol=2e-5, rtol=1e-4)


def test_language_layers_may_be_run_in_two_parts(tiny: Gr00tN1d6) -> None:
    decoder = tiny.backbone.model.language_model.model
    hidden, mask = torch.randn(2, 9, tiny.config.text.hidden_size), torch.ones(2, 9, dtype=torch.bool)
    mask[0, :4] = False
    lower = decoder.run(hidden, mask, 0, 3)
    assert torch.equal(decoder.norm(decoder.run(lower, mask, 3, 4)), decoder(hidden, mask))


def test_bf16_weights_train_without_autocast() -> None:
    model = FAMILY.new_network("tiny", 0)
    apply_dtype_policy(model, "bf16")
    out = model(batch(), torch.randn(2, 50, 128), torch.tensor([0.3, 0.8]))
    out["loss"].backward()
    assert out["loss"].dtype == torch.float32 and bool(torch.isfinite(out["loss"]))
    assert model.action_head.state_encoder.layer1.W.grad.dtype == torch.bfloat16


@pytest.mark.parametrize(("alpha", "beta"), [(1.5, 1.0), (2.0, 3.0)])
def test_times_follow_their_distribution_and_their_generator(alpha: float, beta: float) -> None:
    with torch.device("meta"):
        model = Gr00tN1d6(config("tiny").replace(noise_beta_alpha=alpha, noise_beta_beta=beta))
    times = model.draw_time(20_000, torch.device("cpu"), torch.Generator().manual_seed(0))
    again = model.draw_time(20_000, torch.device("cpu"), torch.Generator().manual_seed(0))
    assert torch.equal(times, again) and float(times.min()) >= 0 and float(times.max()) < 1
    mean = (1 - alpha / (alpha + beta)) * 0.999
    assert abs(float(times.mean()) - mean) < 0.01
    variance = alpha * beta / ((alpha + beta) ** 2 * (alpha + beta + 1))
    assert abs(float(times.var()) - variance) < 0.005


def test_what_becomes_of_the_mask_token_is_said(
    tmp_path: Path, tiny: Gr00tN1d6, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    save_network(tiny, tmp_path)
    grown = FAMILY.load_network(tmp_path, state_dropout_prob=0.2)
    assert "has no mask token; state dropout begins with a fresh one" in caplog.text
    save_network(grown, tmp_path)
    FAMILY.load_network(tmp_path, state_dropout_prob=0.0)
    assert "has a mask token, which is left out" in caplog.text


def test_whole_numbers_are_no_weights(tmp_path: Path, tiny: Gr00tN1d6) -> None:
    save_network(tiny, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["action_head.vlln.weight"] = weights["action_head.vlln.weight"].to(torch.int8)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"action_head.vlln.weight.* holds torch.int8"):
        FAMILY.load_network(tmp_path)


def test_a_folder_of_recorded_outputs_is_a_checkpoint() -> None:
    folder = Path(__file__).resolve().parents[1] / "fixtures" / "groot_n1d6" / "model"
    model = FAMILY.load_network(folder, dtype_policy="reference", flags=TuneFlags(tune_top_llm_layers=1))
    assert model.config.text.hidden_size == 64 and len(model.state_dict()) == 243
