"""GR00T's layout: paths, meta files and columns as the published recipes show them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from groot_ray.dataset.groot import layout
from groot_ray.embodiment import load_embodiment, preset_names

EPISODES = [layout.WrittenEpisode(0, 30, ("a",)), layout.WrittenEpisode(1, 20, ("b", "a"))]
VIDEO = layout.VideoFormat(256, "h264")


def test_paths():
    assert layout.data_path(0) == "data/chunk-000/episode_000000.parquet"
    assert layout.data_path(1234) == "data/chunk-001/episode_001234.parquet"
    assert layout.video_path("ego_view", 7) == "videos/chunk-000/ego_view/episode_000007.mp4"


@pytest.mark.parametrize("preset", preset_names())
def test_folder_feature_and_original_key_agree(preset):
    embodiment = load_embodiment(preset)
    info = layout.info_json(embodiment, EPISODES, ["a", "b"], 20.0, VIDEO)
    videos = {name for name, feature in info["features"].items() if feature["dtype"] == "video"}
    assert videos == {entry["original_key"] for entry in layout.modality_json(embodiment)["video"].values()}
    for camera in embodiment.cameras:
        path = info["video_path"].format(episode_chunk=0, video_key=camera.feature, episode_index=1)
        assert path == layout.video_path(camera.feature, 1)
    for column, width in (("observation.state", embodiment.state_dim), ("action", embodiment.action_dim)):
        assert info["features"][column]["shape"] == [width] and len(info["features"][column]["names"]) == width


def test_info_counts():
    info = layout.info_json(load_embodiment("trossen_mobile"), EPISODES, ["a", "b"], 20.0, VIDEO)
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"], info["total_videos"]) == (2, 50, 2, 6)
    assert info["fps"] == 20 and isinstance(info["fps"], int)
    assert info["codebase_version"] == "v2.1" and info["splits"] == {"train": "0:2"}
    assert info["features"]["observation.images.cam_high"]["shape"] == [256, 256, 3]
    assert layout.info_json(load_embodiment("aloha"), EPISODES, [], 12.5, VIDEO)["fps"] == 12.5


def test_lines():
    assert [json.loads(line) for line in layout.episodes_jsonl(EPISODES).splitlines()] == [
        {"episode_index": 0, "tasks": ["a"], "length": 30},
        {"episode_index": 1, "tasks": ["b", "a"], "length": 20},
    ]
    assert json.loads(layout.tasks_jsonl(["größer"]).splitlines()[0]) == {"task_index": 0, "task": "größer"}
    assert layout.task_numbers([("b",), ("a", "b"), ("c",)]) == {"b": 0, "a": 1, "c": 2}


def test_columns_of_an_episode():
    state, action = np.ones((4, 3), np.float32), np.zeros((4, 2), np.float32)
    columns = layout.episode_columns(state, action, 20.0, episode_index=5, first_index=100, task_index=2)
    assert list(columns) == [
        "observation.state",
        "action",
        "timestamp",
        "frame_index",
        "episode_index",
        "index",
        "task_index",
    ]
    np.testing.assert_allclose(columns["timestamp"], [0, 0.05, 0.1, 0.15])
    assert columns["timestamp"].dtype == np.float32
    assert columns["index"].tolist() == [100, 101, 102, 103]
    assert columns["episode_index"].tolist() == [5] * 4 and columns["task_index"].tolist() == [2] * 4
    assert all(columns[name].dtype == np.int64 for name in ("frame_index", "episode_index", "index", "task_index"))
    by_frame = layout.episode_columns(state, action, 20.0, 0, 0, np.array([0, 0, 1, 1]))
    assert by_frame["task_index"].tolist() == [0, 0, 1, 1]


def test_meta_files_are_all_but_the_statistics():
    files = layout.meta_files(load_embodiment("aloha_gr1"), EPISODES, ["a", "b"], 20.0, VIDEO)
    assert set(files) == {
        f"meta/{name}" for name in ("info.json", "modality.json", "embodiment.json", "episodes.jsonl", "tasks.jsonl")
    }
    assert load_embodiment(files["meta/embodiment.json"]) == load_embodiment("aloha_gr1")
