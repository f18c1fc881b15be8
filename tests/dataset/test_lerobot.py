"""Reading recordings: real ones, recorders' quirks, and errors that name the location."""

from __future__ import annotations

import hashlib
import json
import logging
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from groot_ray.dataset.source.formats import open_source
from groot_ray.embodiment import load_embodiment
from groot_ray.embodiment.mapping import map_columns
from groot_ray.errors import DataError
from groot_ray.storage import open_location


def opened(path):
    return open_source(open_location(path))


def rewrite_lines(file, change):
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(line) + "\n" for line in change(lines)))


def test_real_aloha_episodes(aloha_dataset):
    source = opened(aloha_dataset)
    assert (source.version, source.fps, source.robot_type, len(source.episodes)) == ("v2.1", 50.0, "aloha", 4)
    assert source.cameras == ["observation.images.top"]
    assert source.feature_names("action")[6] == "left_gripper" and source.width("action") == 14
    columns = source.read_columns(2, ["observation.state", "action", "timestamp", "frame_index"])
    assert columns["action"].shape == (400, 14) and columns["action"].dtype == np.float32
    assert columns["timestamp"].shape == (400,) and columns["timestamp"][50] == pytest.approx(1.0)
    expected = pq.read_table(aloha_dataset / "data/chunk-000/episode_000002.parquet").column("action").to_pylist()
    np.testing.assert_array_equal(columns["action"], np.asarray(expected, np.float32))
    assert source.clip(0, "observation.images.top").location.exists()
    assert source.clip(0, "top") == source.clip(0, "observation.images.top")
    assert source.clip(0, "top").is_whole_file
    assert source.episode_tasks(3) == ["Pick up the cube with the right arm and transfer it to the left arm."]


def test_the_real_unitree_g1_with_nested_names(shared_dir):
    source = opened(shared_dir / "data" / "g1_pick_bottle")
    names = source.feature_names("observation.state")
    assert len(names) == 26 and names[0] == "kLeftShoulderPitch" and names[25] == "kRightHandThumbRotation"
    embodiment = load_embodiment(__file__.rsplit("/tests/", 1)[0] + "/examples/embodiments/unitree_g1_pick_bottle.yaml")
    columns = source.read_columns(1, embodiment.source_columns())
    assert (
        map_columns(embodiment, "state", columns).shape == map_columns(embodiment, "action", columns).shape == (421, 26)
    )
    np.testing.assert_array_equal(map_columns(embodiment, "action", columns), columns["action"])


def test_the_in_house_form(ball2):
    source = opened(ball2)
    columns = pq.read_schema(ball2 / "data/chunk-000/episode_000000.parquet").names
    assert columns == ["frame_index", "episode_index", "timestamp", "observation.state", "action", "task_index"]
    values = source.read_columns(1, ["observation.state", "action"])
    assert values["observation.state"].shape == (24, 19) and values["action"].shape == (24, 16)
    # The features carry a prefix that the folders lack; either name finds the video.
    for name in ("cam_left_wrist", "observation.images.cam_left_wrist"):
        assert source.clip(1, name).location.uri.endswith("videos/chunk-000/cam_left_wrist/episode_000001.mp4")
    assert source.frame_tasks(1) == ["put down"] * 24


def test_folders_with_prefix_and_features_without(ball2, edit_json):
    for camera in ("cam_high", "cam_left_wrist", "cam_right_wrist"):
        (ball2 / f"videos/chunk-000/{camera}").rename(ball2 / f"videos/chunk-000/observation.images.{camera}")

    def bare(info):
        info["features"] = {name.removeprefix("observation.images."): value for name, value in info["features"].items()}

    edit_json(ball2 / "meta/info.json", bare)
    source = opened(ball2)
    assert source.cameras[0] == "cam_high"
    assert source.clip(0, "observation.images.cam_high").location.exists()


def test_an_own_video_path_and_chunks(ball2, edit_json):
    (ball2 / "data/chunk-001").mkdir()
    (ball2 / "data/chunk-000/episode_000001.parquet").rename(ball2 / "data/chunk-001/episode_000001.parquet")
    (ball2 / "films").mkdir()
    for index in (0, 1):
        (ball2 / f"videos/chunk-000/cam_high/episode_00000{index}.mp4").rename(ball2 / f"films/{index}-cam_high.mp4")
    edit_json(
        ball2 / "meta/info.json",
        lambda info: info.update(chunks_size=1, video_path="films/{episode_index}-{video_key}.mp4"),
    )
    source = opened(ball2)
    assert len(source.read_columns(1, ["action"])["action"]) == 24
    assert source.clip(1, "cam_high").location.name == "1-cam_high.mp4"
    edit_json(ball2 / "meta/info.json", lambda info: info.update(video_path="films/{camera}.mp4"))
    with pytest.raises(DataError, match="video_path 'films/{camera}.mp4' of meta/info.json cannot be filled in"):
        opened(ball2).clip(1, "cam_high")


@pytest.mark.parametrize(
    "version,read",
    [("v2.0", "v2.0"), ("v2.1", "v2.1"), ("2.1", "v2.1"), (None, "v2.0")],
)
def test_versions_that_are_read(ball2, edit_json, version, read):
    edit_json(
        ball2 / "meta/info.json",
        lambda info: info.update(codebase_version=version) if version else info.pop("codebase_version"),
    )
    assert opened(ball2).version == read


def test_a_missing_version_is_detected_from_the_files(ball2, edit_json):
    edit_json(ball2 / "meta/info.json", lambda info: info.pop("codebase_version"))
    (ball2 / "meta/episodes_stats.jsonl").write_text("")
    assert opened(ball2).version == "v2.1"


@pytest.mark.parametrize(
    "version,advice", [("v3.0", "revision v2.1"), ("v1.6", "convert it to v2.1"), ("v9", "v2.0 and v2.1 are supported")]
)
def test_versions_that_are_not_read(ball2, edit_json, version, advice):
    edit_json(ball2 / "meta/info.json", lambda info: info.update(codebase_version=version))
    with pytest.raises(DataError, match=f"LeRobot format {version}.*{advice}"):
        opened(ball2)


def test_a_v3_dataset_without_version_and_a_v1_dataset(ball2, edit_json, tmp_path):
    edit_json(ball2 / "meta/info.json", lambda info: info.pop("codebase_version"))
    (ball2 / "meta/episodes.jsonl").unlink()
    (ball2 / "meta/episodes/chunk-000").mkdir(parents=True)
    (ball2 / "meta/episodes/chunk-000/file-000.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="format v3"):
        opened(ball2)
    (tmp_path / "old/meta_data").mkdir(parents=True)
    (tmp_path / "old/meta_data/info.json").write_text("{}")
    with pytest.raises(DataError, match="format v1"):
        opened(tmp_path / "old")


@pytest.mark.parametrize(
    "names,expected",
    [
        (["a", "b"], ["a", "b"]),
        ([["a", "b"]], ["a", "b"]),
        ({"motors": ["a", "b"]}, ["a", "b"]),
        ({"left": ["a"], "right": ["b"]}, ["a", "b"]),
        ({"b": 1, "a": 0}, ["a", "b"]),
        (None, None),
        ([], None),
        (["only_one"], None),
    ],
)
def test_names_in_all_their_forms(ball2, edit_json, names, expected):
    edit_json(
        ball2 / "meta/info.json",
        lambda info: info["features"].update({"pair": {"dtype": "float32", "shape": [2], "names": names}}),
    )
    assert opened(ball2).feature_names("pair") == expected


def test_rows_count_when_the_listed_length_differs(ball2, caplog):
    rewrite_lines(
        ball2 / "meta/episodes.jsonl", lambda lines: [{**line, "length": line["length"] + 5} for line in lines]
    )
    source = opened(ball2)
    with caplog.at_level(logging.WARNING):
        assert len(source.read_columns(0, ["action"])["action"]) == 20
    assert "has 20 rows but meta/episodes.jsonl lists 25" in caplog.text
    assert source.rows(0) == 20


def test_tasks_in_all_their_forms(ball2):
    rewrite_lines(
        ball2 / "meta/episodes.jsonl", lambda lines: [{**lines[0], "tasks": [1]}, {"episode_index": 1, "length": 24}]
    )
    source = opened(ball2)
    assert source.episode_tasks(0) == ["put down"]  # a number is looked up
    assert source.episode_tasks(1) == ["put down"]  # none listed: the frames' numbers tell
    rewrite_lines(
        ball2 / "meta/episodes.jsonl", lambda lines: [{**lines[0], "tasks": "just text"}, {**lines[1], "tasks": ["b"]}]
    )
    (ball2 / "meta/tasks.jsonl").unlink()
    source = opened(ball2)
    assert source.tasks == {} and source.episode_tasks(0) == ["just text"]
    assert source.frame_tasks(1) == ["b"] * 24


def test_an_episode_without_any_task_is_named(ball2):
    rewrite_lines(ball2 / "meta/episodes.jsonl", lambda lines: [{**line, "tasks": []} for line in lines])
    (ball2 / "meta/tasks.jsonl").unlink()
    with pytest.raises(DataError, match="episode 1"):
        opened(ball2).episode_tasks(1)


def test_a_task_number_that_is_not_listed_is_named(ball2, edit_parquet):
    edit_parquet(ball2 / "data/chunk-000/episode_000000.parquet", lambda columns: columns.update(task_index=[7] * 20))
    with pytest.raises(DataError, match="episode 0 .*'task_index' holds task 7"):
        opened(ball2).frame_tasks(0)


def test_instructions_of_a_column_of_texts(ball2, edit_parquet):
    edit_parquet(
        ball2 / "data/chunk-000/episode_000000.parquet",
        lambda columns: columns.update(instruction=["a"] * 10 + ["b"] * 10),
    )
    assert opened(ball2).frame_tasks(0, "instruction") == ["a"] * 10 + ["b"] * 10


def test_errors_name_episode_and_column(ball2, edit_parquet, edit_json):
    source = opened(ball2)
    with pytest.raises(
        DataError, match=r"episode 0 of .*column 'observation.sate' is missing \(did you mean 'observation.state'\?\)"
    ):
        source.read_columns(0, ["observation.sate"])
    with pytest.raises(DataError, match="has no episode 9; it lists 2 from 0 to 1"):
        source.read_columns(9, ["action"])
    with pytest.raises(DataError, match=r"no camera 'cam_hihg' \(did you mean"):
        source.clip(0, "cam_hihg")
    assert source.read_columns(0, ["action", "index"], optional=["index"]).keys() == {"action"}
    edit_parquet(
        ball2 / "data/chunk-000/episode_000001.parquet",
        lambda columns: columns.update(action=[row[:15] for row in columns["action"]]),
    )
    with pytest.raises(DataError, match="episode 1 of .*'action' has 15 dimensions, but meta/info.json says 16"):
        source.read_columns(1, ["action"])
    edit_parquet(
        ball2 / "data/chunk-000/episode_000001.parquet",
        lambda columns: columns["action"].__setitem__(7, columns["action"][7][:3]),
    )
    with pytest.raises(DataError, match="episode 1 of .*'action' has 3 dimensions at row 7 but 15 before"):
        source.read_columns(1, ["action"])


def test_empty_cells_and_values_are_named(ball2):
    file = ball2 / "data/chunk-000/episode_000000.parquet"
    rows = [[0.0] * 16] * 20
    pq.write_table(pa.table({"action": pa.array([*rows[:5], None, *rows[6:]], pa.list_(pa.float32()))}), file)
    with pytest.raises(DataError, match=r"'action' has 1 empty cell\(s\), the first at row 5"):
        opened(ball2).read_columns(0, ["action"])
    pq.write_table(pa.table({"action": pa.array([[None] * 16, *rows[1:]], pa.list_(pa.float32()))}), file)
    with pytest.raises(DataError, match=r"16 empty value\(s\)"):
        opened(ball2).read_columns(0, ["action"])
    pq.write_table(pa.table({"action": pa.array([], pa.list_(pa.float32()))}), file)
    with pytest.raises(DataError, match="episode 0 of .* has no rows"):
        opened(ball2).read_columns(0, ["action"])


@pytest.mark.parametrize("kind", ["list", "fixed", "large", "nested"])
def test_columns_of_all_list_types_read_alike(ball2, kind):
    values = np.arange(60, dtype=np.float32).reshape(20, 3)
    kinds = {"list": pa.list_(pa.float32()), "fixed": pa.list_(pa.float32(), 3), "large": pa.large_list(pa.float32())}
    rows = values[:, None].tolist() if kind == "nested" else values.tolist()
    column = pa.array(rows, pa.list_(pa.list_(pa.float32())) if kind == "nested" else kinds[kind])
    # Written in pieces and read from the middle on, as a slice of a bigger table would be.
    table = pa.concat_tables([pa.table({"x": column.slice(0, 7)}), pa.table({"x": column.slice(7)})])
    pq.write_table(table, ball2 / "data/chunk-000/episode_000000.parquet", row_group_size=6)
    np.testing.assert_array_equal(opened(ball2).read_columns(0, ["x"])["x"], values)


def test_missing_and_truncated_files_are_named(ball2):
    source = opened(ball2)
    file = ball2 / "data/chunk-000/episode_000001.parquet"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(DataError, match="episode 1 of .* is truncated or not a parquet file"):
        source.read_columns(1, ["action"])
    file.unlink()
    with pytest.raises(DataError, match="episode 1 of .* does not exist, although the episode is listed"):
        source.read_columns(1, ["action"])
    with pytest.raises(DataError, match="episode 1 of .* does not exist"):
        source.fingerprints()
    (ball2 / "videos/chunk-000/cam_high/episode_000000.mp4").unlink()
    with pytest.raises(DataError, match="episode 0 of .*the video of camera 'cam_high' is missing"):
        source.clip(0, "cam_high")


def test_pictures_in_parquet_are_refused(ball2, edit_json):
    edit_json(
        ball2 / "meta/info.json", lambda info: info["features"]["observation.images.cam_high"].update(dtype="image")
    )
    with pytest.raises(DataError, match="'cam_high' is stored as 'image', not as video"):
        opened(ball2).camera("cam_high")


BROKEN = {
    "no dataset": (lambda root: (root / "meta/info.json").unlink(), "meta/info.json is missing"),
    "info no json": (lambda root: (root / "meta/info.json").write_text("{"), "not valid JSON"),
    "no episodes": (lambda root: (root / "meta/episodes.jsonl").write_text("\n"), "has no episodes"),
    "episodes missing": (lambda root: (root / "meta/episodes.jsonl").unlink(), "episodes.jsonl is missing"),
    "broken line": (
        lambda root: (root / "meta/episodes.jsonl").write_text('{"episode_index": 0\n'),
        "episodes.jsonl, line 1: not valid JSON",
    ),
    "no object": (
        lambda root: (root / "meta/tasks.jsonl").write_text("[1]\n"),
        "tasks.jsonl, line 1: expected an object",
    ),
    "no length": (
        lambda root: (root / "meta/episodes.jsonl").write_text('{"episode_index": 0}\n'),
        "episode_index and length",
    ),
    "task without text": (
        lambda root: (root / "meta/tasks.jsonl").write_text('{"task_index": 0}\n'),
        "task_index and a text task",
    ),
    "episode twice": (
        lambda root: (root / "meta/episodes.jsonl").write_text('{"episode_index": 3, "length": 2}\n' * 2),
        "lists episode 3 twice",
    ),
}


@pytest.mark.parametrize("spoil,sentence", BROKEN.values(), ids=BROKEN.keys())
def test_broken_meta_data_is_one_sentence(ball2, spoil, sentence):
    spoil(ball2)
    with pytest.raises(DataError, match=sentence):
        opened(ball2)


@pytest.mark.parametrize("fps", [None, 0, "30", True])
def test_fps_has_to_be_a_number(ball2, edit_json, fps):
    edit_json(ball2 / "meta/info.json", lambda info: info.update(fps=fps))
    with pytest.raises(DataError, match="gives no fps"):
        opened(ball2)


def test_selecting_and_pickling(ball2):
    source = opened(ball2)
    one = pickle.loads(pickle.dumps(source.select([1])))
    assert [episode.index for episode in one.episodes] == [1]
    assert len(one.read_columns(1, ["action"])["action"]) == 24
    with pytest.raises(DataError, match="no episode 0"):
        one.episode(0)
    with pytest.raises(DataError, match="no episode 5"):
        source.select([5])


def test_fingerprints_are_of_the_files_that_matter(ball2):
    (ball2 / "README.md").write_text("not data")
    (ball2 / ".cache").mkdir()
    (ball2 / ".cache/lock").write_text("")
    source = opened(ball2)
    found = source.fingerprints()
    assert [f.path for f in found] == sorted(f.path for f in found)
    assert len(found) == 3 + 2 * (1 + 3)
    for path, size, digest in found:
        content = (ball2 / path).read_bytes()
        assert (size, digest) == (len(content), hashlib.sha256(content).hexdigest())
    only = {f.path for f in source.fingerprints(episodes=[1])}
    assert only == {f.path for f in found if "episode_000000" not in f.path}
    file = ball2 / "data/chunk-000/episode_000001.parquet"
    file.write_bytes(file.read_bytes() + b"x")
    assert source.fingerprints() != found


def test_a_dataset_in_object_storage_reads_alike(ball2, s3):
    from groot_ray.storage.tree import upload_tree

    upload_tree(ball2, s3.location / "recordings/ball2")
    local, remote = opened(ball2), open_source(s3.location / "recordings/ball2")
    assert remote.episodes == local.episodes and remote.tasks == local.tasks
    one, other = (source.read_columns(1, ["observation.state", "action", "task_index"]) for source in (local, remote))
    for name, values in one.items():
        np.testing.assert_array_equal(other[name], values)
    assert remote.fingerprints() == local.fingerprints()
    with remote.clip(0, "cam_high").location.open() as stream:
        assert stream.read() == (ball2 / "videos/chunk-000/cam_high/episode_000000.mp4").read_bytes()
    with pytest.raises(DataError, match="meta/info.json is missing"):
        open_source(s3.location / "recordings/none")
