"""The processor: files as the reference writes them, its recorded sample, many frames and cameras, and errors in
sentences.
"""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recorded import DATA, modality_configs, recorded_sample, recording, statistics_of

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.model.n1d6.pixels import smart_resize
from groot_ray.model.n1d6.processor import Processor
from groot_ray.model.shared.color import ColorJitter
from groot_ray.model.shared.image_pipelines import ImageOptions, ImagePipelines

REFERENCE = recording()
FILES = ("processor_config.json", "statistics.json", "embodiment_id.json")


@pytest.fixture
def processor() -> Processor:
    return Processor.from_directory(DATA / "processor", tokenizer="tiny")


@pytest.fixture
def sample() -> dict[str, Any]:
    return recorded_sample(REFERENCE)


def _fresh(
    cameras: tuple[str, ...] = ("front",), frames: tuple[int, ...] = (0,), tag: str = "NEW_EMBODIMENT"
) -> Processor:
    processor = Processor.new()
    rng = np.random.default_rng(0)
    chunks = rng.uniform(-1, 1, (50, 4, 2))
    processor.set_embodiment(
        tag,
        modality_configs(["arm"], ["arm"], horizon=4, cameras=cameras, frames=frames, actions=[{"rep": "RELATIVE"}]),
        {
            "state": {"arm": statistics_of(chunks[:, 0])},
            "action": {"arm": statistics_of(chunks[:, 0])},
            "relative_action": {"arm": statistics_of(chunks)},
        },
    )
    return processor


def _sample(
    cameras: tuple[str, ...] = ("front",), frames: int = 1, tag: str = "new_embodiment", **more: Any
) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {
        "images": {c: rng.integers(0, 256, (frames, 64, 64, 3), dtype=np.uint8) for c in cameras},
        "state": {"arm": np.zeros((1, 2), np.float32)},
        "action": {"arm": np.full((4, 2), 0.1, np.float32)},
        "language": "Lift it!",
        "tag": tag,
        **more,
    }


def test_files_are_written_as_the_reference_writes_them(processor: Processor, tmp_path: Path) -> None:
    processor.save(tmp_path)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (DATA / "processor" / name).read_bytes()
    again = Processor.from_directory(tmp_path)
    assert again.tokenizer.size == 503 and again.tags == ["NEW_EMBODIMENT"]


def test_a_sample_equals_the_reference(processor: Processor, sample: dict[str, Any]) -> None:
    features = processor.process(sample, train=False)
    np.testing.assert_array_equal(features["state"], REFERENCE["eval.state"])
    np.testing.assert_array_equal(features["action_mask"], REFERENCE["eval.action_mask"])
    np.testing.assert_array_equal(features["images"], REFERENCE["eval.images"])
    np.testing.assert_array_equal(features["action"], REFERENCE["eval.action"])
    assert features["embodiment_id"] == REFERENCE["eval.embodiment_id"]
    assert features["text"] == json.loads((DATA / "prompt.json").read_text())["texts"]["eval"]


def test_a_batch_equals_the_reference(shared_dir: Path, sample: dict[str, Any]) -> None:
    processor = Processor.from_directory(DATA / "processor", tokenizer=shared_dir / "tokenizer")
    ids = REFERENCE["batch.input_ids"]
    # The recording does not say the second sample's instruction; it is read from its tokens.
    text = processor.tokenizer.decode(ids[1][REFERENCE["batch.attention_mask"][1] == 1])
    other = {**sample, "language": text.split("user\n")[1].split("<image 1>")[0]}
    batch = processor.collate([processor.process(s, train=False) for s in (sample, other)])
    np.testing.assert_array_equal(batch["input_ids"], ids)
    np.testing.assert_array_equal(batch["attention_mask"], REFERENCE["batch.attention_mask"])
    for i in range(2):
        np.testing.assert_array_equal(batch["pixel_values"][i], REFERENCE[f"batch.pixel_values_{i}"][0])
    np.testing.assert_array_equal(batch["embodiment_id"], REFERENCE["batch.embodiment_id"])
    np.testing.assert_allclose(batch["state"][0], REFERENCE["batch.state"][0], atol=0)
    layout = batch.pop("batch_layout")
    assert layout.image == (162, 162) and layout.padded
    types = {key: value.dtype for key, value in batch.items()}
    assert types == dict(
        input_ids=torch.int64, attention_mask=torch.int64, pixel_values=torch.float32, state=torch.float32,
        action=torch.float32, action_mask=torch.float32, embodiment_id=torch.int64,
    )  # fmt: skip


def test_decoding_gives_the_raw_action_back(processor: Processor, sample: dict[str, Any]) -> None:
    batch = processor.collate([processor.process(sample, train=False)] * 2)
    states = {key: np.stack([value, value]) for key, value in sample["state"].items()}
    decoded = processor.decode_action(batch["action"].to(torch.float64), "new_embodiment", states)
    for key, raw in sample["action"].items():
        assert decoded[key].shape == (2, 8, raw.shape[1]) and decoded[key].dtype == np.float32
        np.testing.assert_allclose(decoded[key], [raw, raw], atol=2e-6)


def test_many_frames_and_cameras_are_ordered_by_frame() -> None:
    cameras = ("left", "right", "top")
    processor = _fresh(cameras, frames=(-1, 0))
    sample = _sample(cameras, frames=2)
    features = processor.process(sample, train=False)
    expected = [processor.images.evaluate([sample["images"][c][t]])[0] for t in range(2) for c in cameras]
    np.testing.assert_array_equal(features["images"], expected)
    batch = processor.collate([features, features])
    assert batch["pixel_values"].shape == (12, 3, 252, 252)
    assert (batch["input_ids"] == processor.tokenizer.token_id("<IMG_CONTEXT>")).sum() == 12 * 81
    text = processor.tokenizer.decode(batch["input_ids"][0].tolist())
    assert text.index("<image 1>") < text.index("<image 6>") and "user\nlift it<image 1>" in text


def test_pictures_of_other_sizes_in_one_batch_are_a_list() -> None:
    small, large = _fresh(), Processor.new(shortest_image_edge=112)
    large.set_embodiment("NEW_EMBODIMENT", small.modality_configs["new_embodiment"], small.statistics["new_embodiment"])
    features = [p.process(_sample(), train=False) for p in (small, large)]
    batch = small.collate(features)
    assert [tuple(v.shape) for v in batch["pixel_values"]] == [(1, 3, 252, 252), (1, 3, 112, 112)]
    assert batch["attention_mask"].sum(1).tolist() == [features_length(small, f) for f in features]
    shorter = batch["attention_mask"][1]
    assert shorter[0] == 0 and shorter[-1] == 1  # padded on the left
    assert (batch["input_ids"][1][shorter == 0] == small.tokenizer.pad_id).all()


def features_length(processor: Processor, features: dict[str, Any]) -> int:
    return int(processor.collate([features])["attention_mask"].sum())


def test_training_pictures_are_drawn_from_the_generator() -> None:
    processor = _fresh(("a", "b"))
    sample = _sample(("a", "b"))
    one, two = (processor.process(sample, True, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one["images"], two["images"])
    other = processor.process(sample, True, np.random.default_rng(6))
    assert not np.array_equal(one["images"], other["images"])
    np.testing.assert_array_equal(one["pixels"], [smart_resize(image) for image in one["images"]])
    np.testing.assert_array_equal(one["state"], other["state"])


def test_steps_after_the_end_are_left_out_of_the_loss() -> None:
    processor = _fresh()
    mask = processor.process(_sample(action_valid=np.array([True, True, False, False])), True)["action_mask"]
    assert mask.shape == (50, 128) and mask.sum() == 2 * 2 and mask[:2, :2].all()
    assert processor.process(_sample(), True)["action_mask"].sum() == 4 * 2


def test_masks_of_the_sample_reach_the_augmentation() -> None:
    base = _fresh()
    config = {"background_noise_transforms": [{"target_mask_values": [0]}]}
    processor = Processor(
        base.settings, base.modality_configs, base.statistics, base.embodiment_ids, base.tokenizer,
        extra_augmentation_config=config,
    )  # fmt: skip
    sample = _sample(images={"front": np.full((1, 64, 64, 3), 50, np.uint8)})
    plain = processor.process(sample, True)["images"][0]
    masked = processor.process({**sample, "masks": {"front": np.zeros((1, 64, 64), np.uint8)}}, True)["images"][0]
    assert (plain == 50).all() and masked.std() > 10


def test_observations_need_no_action() -> None:
    processor = _fresh()
    features = processor.process(_sample(action=None), train=False)
    batch = processor.collate([features])
    assert "action" not in batch and "action_mask" not in batch and batch["state"].shape == (1, 1, 128)
    with pytest.raises(DataError, match="a training sample of tag NEW_EMBODIMENT has no action"):
        processor.process(_sample(action=None), train=True)
    with pytest.raises(DataError, match="differ in action"):
        processor.collate([features, processor.process(_sample(), train=False)])


def test_two_embodiments_in_one_batch() -> None:
    processor = _fresh()
    processor.set_embodiment(
        "GR1", processor.modality_configs["new_embodiment"], processor.statistics["new_embodiment"]
    )
    batch = processor.collate([processor.process(_sample(tag=tag), True) for tag in ("GR1", "new_embodiment")])
    assert batch["embodiment_id"].tolist() == [20, 10]


def test_the_dataset_replaces_what_the_checkpoint_knows_of_a_tag(processor: Processor) -> None:
    fresh = _fresh()
    sentence = processor.set_embodiment(
        "new-embodiment", fresh.modality_configs["new_embodiment"], fresh.statistics["new_embodiment"]
    )
    assert sentence == (
        "tag NEW_EMBODIMENT (weights of embodiment 10) is known to the base model (17 state dims (arm, gripper, eef, "
        "const), "
        "13 action dims (arm relative, gripper, eef relative), horizon 8); the dataset's modality configuration, "
        "dims and "
        "statistics replace it: 2 state dims (arm), 2 action dims (arm relative), horizon 4"
    )
    assert processor.dims("NEW_EMBODIMENT") == (2, 2, 4)
    assert processor.process(_sample(), True)["action_mask"].sum() == 8
    assert "is new to the base model" in processor.set_embodiment(
        "gr1", fresh.modality_configs["new_embodiment"], fresh.statistics["new_embodiment"]
    )
    assert processor.tags == ["NEW_EMBODIMENT", "GR1"]


def test_the_checkpoint_s_embodiment_ids_win(tmp_path: Path, processor: Processor) -> None:
    processor.save(tmp_path)
    (tmp_path / "embodiment_id.json").write_text('{"new_embodiment": 31, "private_robot": 7}')
    changed = Processor.from_directory(tmp_path)
    assert changed.embodiment_ids["new_embodiment"] == 31 and changed.embodiment_ids["gr1"] == 20
    fresh = _fresh()
    changed.set_embodiment(
        "PRIVATE_ROBOT", fresh.modality_configs["new_embodiment"], fresh.statistics["new_embodiment"]
    )
    assert changed.process(_sample(tag="PRIVATE_ROBOT"), True)["embodiment_id"] == 7


def test_a_broken_tag_of_the_checkpoint_does_not_stop_the_others(
    tmp_path: Path, processor: Processor, sample: dict
) -> None:
    processor.modality_configs["gr1"] = {"video": "?"}
    processor.statistics["gr1"] = {}
    processor.save(tmp_path)
    changed = Processor.from_directory(tmp_path)
    assert changed.process(sample, False)["embodiment_id"] == 10
    fresh = _fresh()
    assert "cannot be read here" in changed.set_embodiment(
        "GR1", fresh.modality_configs["new_embodiment"], fresh.statistics["new_embodiment"]
    )


def test_settings_that_finetuning_may_replace(tmp_path: Path) -> None:
    jitter = {"brightness": 0.3}
    changed = Processor.from_directory(
        DATA / "processor", "tiny", random_rotation_angle=5, color_jitter_params=jitter, use_relative_action=False,
        extra_augmentation_config={"background_noise_transforms": [{}]},
    )  # fmt: skip
    changed.save(tmp_path)
    saved = json.loads((tmp_path / "processor_config.json").read_text())["processor_kwargs"]
    before = json.loads((DATA / "processor" / "processor_config.json").read_text())["processor_kwargs"]
    assert saved == {**before, "random_rotation_angle": 5, "color_jitter_params": jitter, "use_relative_action": False}
    training = changed.images.train
    assert training.regions is not None and ColorJitter.from_params(jitter) in training.step.steps


def test_missing_settings_have_the_reference_s_constructor_values(tmp_path: Path, processor: Processor) -> None:
    processor.save(tmp_path)
    config = {"processor_kwargs": {"modality_configs": {}, "crop_fraction": 0.9, "letter_box_transform": False,
              "new_thing": 1,
                                   "image_target_size": [224, 224], "image_crop_size": [200, 200]}}  # fmt: skip
    (tmp_path / "processor_config.json").write_text(json.dumps(config))
    (tmp_path / "statistics.json").write_text("{}")
    read = Processor.from_directory(tmp_path)
    assert read.settings["shortest_image_edge"] == 512 and read.settings["max_action_horizon"] == 40
    assert not read.settings["use_albumentations"]
    options = ImageOptions(
        use_albumentations=False, letter_box=False, image_target_size=[224, 224], image_crop_size=[200, 200]
    )
    assert read.images == ImagePipelines.of(options)
    read.save(tmp_path / "again")
    saved = json.loads((tmp_path / "again" / "processor_config.json").read_text())["processor_kwargs"]
    assert saved["new_thing"] == 1 and saved["letter_box_transform"] is False


def test_a_fresh_processor_is_set_up_like_the_public_checkpoint(processor: Processor) -> None:
    assert Processor.new().settings == processor.settings
    assert Processor.new(max_action_dim=16).settings["max_action_dim"] == 16
    with pytest.raises(ConfigurationError, match="'max_action_dims' is not a setting .*did you mean 'max_action_dim'"):
        Processor.new(max_action_dims=3)


def test_a_processor_survives_pickling(processor: Processor, sample: dict[str, Any]) -> None:
    again = pickle.loads(pickle.dumps(processor))
    features = processor.process(sample, False)
    np.testing.assert_array_equal(again.process(sample, False)["state"], features["state"])
    assert torch.equal(again.collate([features])["input_ids"], processor.collate([features])["input_ids"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s["images"].pop("front"), "camera 'front' is missing; there are none"),
        (lambda s: s["images"].update(front=s["images"]["front"][0]),
         r"camera 'front' are uint8 \[64, 64, 3\] instead of uint8 \[1, height"),
        (lambda s: s["images"].update(front=s["images"]["front"] / 255), r"are float64 \[1, 64, 64, 3\]"),
        (lambda s: s["images"].update(front=np.zeros((2, 64, 64, 3), np.uint8)),
         r"\[2, 64, 64, 3\] instead of uint8 \[1,"),
        (lambda s: s["state"].clear(), "state 'arm' of tag NEW_EMBODIMENT is missing; there are none"),
        (lambda s: s.update(language=["lift"]), "instruction of tag NEW_EMBODIMENT is list, not text"),
        (lambda s: s["action"].update(arm=np.full((4, 2), np.nan, np.float32)), "action 'arm' .* is not finite"),
    ],
)  # fmt: skip
def test_broken_samples_are_told_in_a_sentence(change: Any, sentence: str) -> None:
    sample = copy.deepcopy(_sample())
    change(sample)
    with pytest.raises(DataError, match=sentence):
        _fresh().process(sample, train=True)


def test_tags_without_weights_or_statistics_are_told_in_a_sentence(
    processor: Processor, sample: dict[str, Any]
) -> None:
    with pytest.raises(
        ConfigurationError, match="the checkpoint has no modality configuration of tag GR1; it has NEW_EMBODIMENT"
    ):
        processor.process({**sample, "tag": "GR1"}, False)
    with pytest.raises(ConfigurationError, match="there is no embodiment tag 'custom_robot'"):
        processor.process({**sample, "tag": "custom_robot"}, False)


@pytest.mark.parametrize(
    ("dims", "horizon", "sentence"),
    [
        (129, 4, "the state has 129 dims for tag GR1, but the model takes at most 128"),
        (2, 51, "the action horizon is 51 steps for tag GR1, but the model takes at most 50"),
    ],
)
def test_what_is_larger_than_the_model_is_refused_and_changes_nothing(dims: int, horizon: int, sentence: str) -> None:
    processor = Processor.new()
    values = statistics_of(np.random.default_rng(0).uniform(size=(5, dims)))
    with pytest.raises(ConfigurationError, match=sentence):
        processor.set_embodiment(
            "GR1",
            modality_configs(["arm"], ["arm"], horizon=horizon),
            {"state": {"arm": values}, "action": {"arm": values}},
        )
    assert processor.tags == []


def test_action_and_sine_cosine_dims_count(processor: Processor) -> None:
    one = statistics_of(np.random.default_rng(0).uniform(size=(5, 70)))
    statistics = {"state": {"arm": one}, "action": {"arm": one, "leg": one}}
    with pytest.raises(ConfigurationError, match="the action has 140 dims"):
        processor.set_embodiment("GR1", modality_configs(["arm"], ["arm", "leg"]), statistics)
    configs = modality_configs(["arm"], ["arm"])
    configs["state"]["sin_cos_embedding_keys"] = ["arm"]
    with pytest.raises(ConfigurationError, match="the state has 140 dims"):
        processor.set_embodiment("GR1", configs, statistics)


def test_folders_that_are_no_checkpoint_are_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a GR00T N1.6 checkpoint: it has no processor_config.json"):
        Processor.from_directory(tmp_path)
    (tmp_path / "processor_config.json").write_text("{")
    with pytest.raises(ConfigurationError, match="is not valid JSON"):
        Processor.from_directory(tmp_path)
    (tmp_path / "processor_config.json").write_text('{"processor_class": "CLIPProcessor"}')
    with pytest.raises(ConfigurationError, match="is not a GR00T N1.6 processor"):
        Processor.from_directory(tmp_path)
