"""What training and evaluation see of a dataset in GR00T's layout, ours and others'."""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow.parquet as pq
import pytest

from groot_ray.dataset.groot.dataset import GrootDataset
from groot_ray.dataset.groot.key_statistics import relative_keys
from groot_ray.embodiment import load_embodiment
from groot_ray.embodiment.modality import modality_configs
from groot_ray.errors import DataError

CONFIGS = modality_configs(load_embodiment("aloha_gr1_full"))


@pytest.fixture
def reference(shared_dir):
    """The dataset that the reference was run on, with its modality configuration."""
    fixtures = shared_dir / "fixtures/groot_n1d6"
    configs = json.loads((fixtures / "data/modality_configs.json").read_text())["new_embodiment"]
    return GrootDataset(fixtures / "dataset"), configs, fixtures / "data"


def test_the_references_sample_to_the_bit(reference):
    dataset, configs, data = reference
    with np.load(data / "processor_sample.npz") as recorded:
        sample = dataset.sample(1, 5, configs, "NEW_EMBODIMENT")
        for key in configs["video"]["modality_keys"]:
            np.testing.assert_array_equal(sample["images"][key], recorded[f"raw_image.{key}"])
        for key in configs["state"]["modality_keys"]:
            np.testing.assert_array_equal(sample["state"][key], recorded[f"raw_state.{key}"])
        for key in configs["action"]["modality_keys"]:
            np.testing.assert_array_equal(sample["action"][key], recorded[f"raw_action.{key}"])


def test_the_references_effective_lengths(reference):
    dataset, configs, data = reference
    expected = json.loads((data / "shards.json").read_text())["effective_lengths"]
    assert [dataset.effective_length(position, configs) for position in range(4)] == expected


def test_the_references_statistics_by_key(reference):
    dataset, configs, data = reference
    merged = json.loads((data / "statistics_merged.json").read_text())
    merged = merged.get("new_embodiment", merged)
    found = dataset.statistics(configs)
    for part in ("state", "action", "relative_action"):
        assert set(found[part]) == set(merged[part])
        for key, entry in found[part].items():
            for name, values in entry.items():
                np.testing.assert_allclose(values, merged[part][key][name], rtol=1e-6, atol=1e-6)
    assert relative_keys(configs) == ["arm", "eef"]


def test_annotations_are_looked_up(reference):
    dataset, configs, _ = reference
    assert dataset.sample(1, 0, configs, "x", with_images=False)["language"] == "put it in the box, please."
    assert dataset.modality.annotation == {"human.task_description": "annotation.human.task_description"}


def test_a_sample_of_our_own_conversion(groot):
    dataset = GrootDataset(groot)
    assert dataset.embodiment == load_embodiment("aloha_gr1_full")
    assert (dataset.fps, len(dataset), dataset.tasks) == (20.0, 3, {0: "pick up the ball", 1: "put it down"})
    assert [dataset.effective_length(i, CONFIGS) for i in range(3)] == [15, 9, 25]
    sample = dataset.sample(2, 24, CONFIGS, "GR1")
    rows = pq.read_table(groot / "data/chunk-000/episode_000002.parquet")
    action = np.asarray(rows.column("action").to_pylist(), np.float32)
    state = np.asarray(rows.column("observation.state").to_pylist(), np.float32)
    np.testing.assert_array_equal(sample["action"]["right_arm"], action[24:40, 22:29])
    np.testing.assert_array_equal(sample["state"]["waist"], state[24:25, 41:44])
    assert set(sample["state"]) == {"left_arm", "left_hand", "right_arm", "right_hand", "waist"}
    assert sample["action_valid"].all() and sample["language"] == "pick up the ball" and sample["tag"] == "GR1"
    image = sample["images"]["ego_view"]
    assert image.shape == (1, 64, 64, 3) and image.dtype == np.uint8
    assert abs(float(image[..., 0].mean()) - 4 * 24) < 4  # the red tells the frame
    with pytest.raises(DataError, match="episode 2 of .* has no sample at step 25; it has 25"):
        dataset.sample(2, 25, CONFIGS, "GR1")


def test_the_tail_may_be_masked(groot):
    dataset = GrootDataset(groot)
    assert dataset.effective_length(1, CONFIGS, tail="mask") == 24
    whole = dataset.arrays(1).action["left_arm"]
    sample = dataset.sample(1, 20, CONFIGS, "GR1", tail="mask", with_images=False)
    np.testing.assert_array_equal(sample["action"]["left_arm"][:4], whole[20:])
    np.testing.assert_array_equal(sample["action"]["left_arm"][4:], np.repeat(whole[23:], 12, axis=0))
    assert sample["action_valid"].tolist() == [True] * 4 + [False] * 12


def test_evaluation_may_look_at_the_last_frames(groot):
    sample = GrootDataset(groot).sample(0, 29, CONFIGS, "GR1", with_action=False)
    assert sample["action"] is None and sample["action_valid"] is None
    assert sample["images"]["ego_view"].shape == (1, 64, 64, 3)


def test_history_before_the_first_frame_is_the_first_frame(groot):
    configs = json.loads(json.dumps(CONFIGS))
    configs["state"]["delta_indices"] = configs["video"]["delta_indices"] = [-2, -1, 0]
    dataset = GrootDataset(groot)
    sample = dataset.sample(0, 1, configs, "GR1")
    whole = dataset.arrays(0).state["left_arm"]
    np.testing.assert_array_equal(sample["state"]["left_arm"], whole[[0, 0, 1]])
    reds = sample["images"]["ego_view"][..., 0].mean(axis=(1, 2))
    assert reds[0] == reds[1] < reds[2]


def test_several_tasks_are_chosen_by_the_generator(groot):
    file = groot / "meta/episodes.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[0]["tasks"] = ["first", "second"]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    dataset = GrootDataset(groot)

    def text(seed):
        rng = None if seed is None else np.random.default_rng(seed)
        return dataset.sample(0, 0, CONFIGS, "GR1", rng=rng, with_images=False)["language"]

    assert text(None) == "first"
    assert {text(seed) for seed in range(20)} == {"first", "second"}
    assert [text(seed) for seed in range(20)] == [text(seed) for seed in range(20)]


def test_sub_tasks_begin_half_a_chunk_early(groot):
    file = groot / "meta/episodes.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[0]["sub_tasks"] = [{"start": 0, "end": 10, "text": "grasp"}, {"start": 14, "end": 30, "text": "lift"}]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    configs = {**CONFIGS, "language": {**CONFIGS["language"], "modality_keys": ["sub_task"]}}
    dataset = GrootDataset(groot)

    def texts(step):
        return {
            dataset.sample(0, step, configs, "x", rng=np.random.default_rng(seed), with_images=False)["language"]
            for seed in range(12)
        }

    assert texts(5) == {"grasp"}
    assert texts(6) == {"grasp", "lift"}  # 14 - 16 // 2
    assert texts(10) == {"lift"}
    assert dataset.sample(1, 0, configs, "x", with_images=False)["language"] == ""
    assert dataset.arrays(0, "sub_task").language[9:15] == ["grasp", "", "", "", "", "lift"]


def test_threads_and_copies_read_alike(groot):
    dataset = GrootDataset(groot)
    places = [(position, step) for position in range(3) for step in range(0, 9, 4)]
    alone = [dataset.sample(*place, CONFIGS, "GR1") for place in places]
    copy = pickle.loads(pickle.dumps(dataset))
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda place: copy.sample(*place, CONFIGS, "GR1"), places * 3))
    for one, other in zip(alone * 3, together, strict=True):
        np.testing.assert_array_equal(one["images"]["ego_view"], other["images"]["ego_view"])
        np.testing.assert_array_equal(one["action"]["left_arm"], other["action"]["left_arm"])


def test_other_writers_forms(groot, edit_json):
    """No original_key, no paths, no features, a folder with the prefix that modality.json leaves out."""
    (groot / "meta/embodiment.json").unlink()
    (groot / "videos/chunk-000/ego_view").rename(groot / "videos/chunk-000/observation.images.ego_view")
    edit_json(groot / "meta/modality.json", lambda modality: modality.update(video={"ego_view": {}}))

    def strip(info):
        for key in ("data_path", "video_path", "chunks_size", "features", "fps", "codebase_version"):
            del info[key]

    edit_json(groot / "meta/info.json", strip)
    dataset = GrootDataset(groot)
    assert dataset.embodiment is None and dataset.fps == 30
    sample = dataset.sample(0, 3, CONFIGS, "GR1")
    assert sample["images"]["ego_view"].shape == (1, 64, 64, 3) and sample["state"]["left_hand"].shape == (1, 6)


def test_the_shorter_of_rows_and_listed_length_counts(groot):
    file = groot / "meta/episodes.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[0]["length"], lines[1]["length"] = 20, 100
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    dataset = GrootDataset(groot)
    assert [dataset.length(0), dataset.length(1)] == [20, 24]
    assert dataset.arrays(0).length == 20 and dataset.arrays(1).length == 24
    assert len(dataset.arrays(0).state["left_arm"]) == 20


def test_missing_statistics_are_advised(groot, edit_json):
    edit_json(groot / "meta/relative_stats.json", lambda content: content.pop("right_arm"))
    with pytest.raises(DataError, match="RELATIVE action 'right_arm'.*groot-ray stats"):
        GrootDataset(groot).statistics(CONFIGS)
    configs = {**CONFIGS, "action": {**CONFIGS["action"], "delta_indices": list(range(8))}}
    with pytest.raises(DataError, match="covers 16 steps of 'left_arm', the configuration has 8.*groot-ray stats"):
        GrootDataset(groot).statistics(configs)
    edit_json(groot / "meta/stats.json", lambda content: content["action"].pop("q99"))
    with pytest.raises(DataError, match="no q99 of column 'action'.*groot-ray stats"):
        GrootDataset(groot).statistics(CONFIGS)
    (groot / "meta/stats.json").unlink()
    with pytest.raises(DataError, match=r"stats.json is missing; compute it with: groot-ray stats"):
        GrootDataset(groot).statistics(CONFIGS)


def test_statistics_are_cut_by_key(groot):
    found = GrootDataset(groot).statistics(CONFIGS)
    column = json.loads((groot / "meta/stats.json").read_text())["action"]
    assert found["action"]["right_hand"]["max"] == column["max"][29:35]
    assert set(found["relative_action"]) == {"left_arm", "right_arm"}
    assert np.shape(found["relative_action"]["left_arm"]["std"]) == (16, 7)


def test_statistics_in_place_of_the_files(groot):
    dataset = GrootDataset(groot)
    stats, relative = dataset.stats, dataset.relative_stats
    for name in ("stats", "relative_stats"):
        (groot / f"meta/{name}.json").unlink()
    bare = GrootDataset(groot)
    with pytest.raises(DataError, match="is missing"):
        bare.statistics(CONFIGS)
    assert bare.with_statistics(stats, relative).statistics(CONFIGS) == dataset.statistics(CONFIGS)
    with pytest.raises(DataError, match="is missing"):
        bare.statistics(CONFIGS)


def test_a_folder_that_is_not_a_dataset_is_reported(groot, tmp_path, edit_json):
    with pytest.raises(DataError, match="does not exist"):
        GrootDataset(tmp_path / "none")
    with pytest.raises(DataError, match=r"not a dataset in GR00T's layout.*name one of its parts, such as .*/train"):
        GrootDataset(groot.parent)
    configs = {**CONFIGS, "state": {**CONFIGS["state"], "modality_keys": ["left_amr"]}}
    with pytest.raises(DataError, match=r"no state key 'left_amr' \(did you mean 'left_arm'\?\)"):
        GrootDataset(groot).sample(0, 0, configs, "GR1")
    (groot / "videos/chunk-000/ego_view/episode_000001.mp4").unlink()
    with pytest.raises(DataError, match="episode 1 of .*the video of camera 'ego_view' is missing"):
        GrootDataset(groot).sample(1, 0, CONFIGS, "GR1")
    edit_json(groot / "meta/modality.json", lambda modality: modality["state"]["waist"].update(end=50))
    with pytest.raises(DataError, match=r"'waist' is \[41:50\] of column 'observation.state', which has only 44"):
        GrootDataset(groot).arrays(0)
    (groot / "meta/modality.json").unlink()
    with pytest.raises(DataError, match=r"modality.json is missing; .*groot-ray convert"):
        GrootDataset(groot)


@pytest.mark.parametrize(
    "line", ['{"episode_index": 0}', '{"episode_index": "zero", "length": 3}', '{"episode_index": 0, "length": null}']
)
def test_a_line_that_cannot_be_used_is_shown(groot, line):
    (groot / "meta/episodes.jsonl").write_text(line + "\n")
    with pytest.raises(
        DataError, match=r"episodes.jsonl: every line needs the numbers episode_index and length.*episode_index"
    ):
        GrootDataset(groot)


def test_masks_come_with_their_cameras_frames(groot, edit_json):
    masks = np.random.default_rng(0).integers(0, 3, (30, 64, 64)).astype(np.uint8)
    (groot / "masks").mkdir()
    np.savez(groot / "masks/ego_view-0.npz", masks)
    np.save(groot / "masks/ego_view-1.npy", masks)
    edit_json(groot / "meta/info.json", lambda info: info.update(mask_path="masks/{mask_key}-{episode_index}.npz"))
    edit_json(
        groot / "meta/modality.json", lambda modality: modality.update(mask={"ego_mask": {"original_key": "ego_view"}})
    )
    configs = {**CONFIGS, "mask": {"delta_indices": [0], "modality_keys": ["ego_mask"]}}
    sample = GrootDataset(groot).sample(0, 7, configs, "GR1")
    np.testing.assert_array_equal(sample["masks"]["ego_view"], masks[7:8])
    with pytest.raises(DataError, match="ego_view-1.npz is missing"):
        GrootDataset(groot).sample(1, 0, configs, "GR1")
    edit_json(groot / "meta/info.json", lambda info: info.update(mask_path="masks/{mask_key}-{episode_index}.npy"))
    np.testing.assert_array_equal(GrootDataset(groot).masks(1, "ego_mask"), masks)
    edit_json(groot / "meta/info.json", lambda info: info.pop("mask_path"))
    with pytest.raises(DataError, match="no mask_path"):
        GrootDataset(groot).sample(0, 0, configs, "GR1")
    with pytest.raises(DataError, match=r"no mask key 'ego_maks' \(did you mean 'ego_mask'"):
        GrootDataset(groot).modality.mask_feature("ego_maks")
