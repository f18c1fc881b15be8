"""One episode as a function: numbers, images, and an error for every kind of damage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import write_ball2, write_parquet

from groot_ray.convert.episode import Numbering, convert_episode, to_table
from groot_ray.convert.measure import measure_episode
from groot_ray.dataset.source.formats import open_source
from groot_ray.dataset.source.recording import Recording
from groot_ray.embodiment.load import load_embodiment
from groot_ray.errors import DataError
from groot_ray.experiment.schema import ConversionOptions
from groot_ray.storage import open_location
from groot_ray.video.decode import frames
from groot_ray.video.probe import probe
from groot_ray.video.transform import fit_frame

OPTIONS = ConversionOptions()


def opened(path: Path) -> Recording:
    return open_source(open_location(path))


def numbered(source: Recording, index: int, embodiment) -> Numbering:
    tasks = measure_episode(source, index, embodiment, OPTIONS).tasks
    return Numbering(7, 100, {task: 3 + i for i, task in enumerate(tasks)})


def test_numbers_of_a_real_episode(aloha_dataset: Path, tmp_path: Path) -> None:
    embodiment, source = load_embodiment("aloha_gr1"), opened(aloha_dataset)
    files = convert_episode(source, 2, numbered(source, 2, embodiment), embodiment, OPTIONS, tmp_path)
    assert list(files) == ["videos/chunk-000/ego_view/episode_000007.mp4", "data/chunk-000/episode_000007.parquet"]
    table = pq.read_table(files["data/chunk-000/episode_000007.parquet"])
    recorded = source.read_columns(2, ["observation.state", "action"])
    kept = [min(int((i / 20) * 50), 399) for i in range(160)]
    state, action = (np.stack(table[name].to_pylist()) for name in ("observation.state", "action"))
    assert state.shape == action.shape == (160, 29) and table.schema.field("action").type.value_type == pa.float32()
    for ours, theirs in ((state, recorded["observation.state"]), (action, recorded["action"])):
        np.testing.assert_array_equal(ours[:, 0:6], theirs[kept, 0:6])
        np.testing.assert_array_equal(ours[:, 7], theirs[kept, 6])
        np.testing.assert_array_equal(ours[:, 13:19], theirs[kept, 7:13])
        np.testing.assert_array_equal(ours[:, 20], theirs[kept, 13])
        rest = [6, *range(8, 13), 19, *range(21, 29)]
        assert (ours[:, rest] == 0).all()
    np.testing.assert_allclose(table["timestamp"].to_numpy(), np.arange(160) / 20, atol=1e-6)
    assert table["frame_index"].to_pylist() == list(range(160))
    assert table["index"].to_pylist() == list(range(100, 260))
    assert set(table["episode_index"].to_pylist()) == {7} and set(table["task_index"].to_pylist()) == {3}


def test_images_of_a_real_episode(aloha_dataset: Path, tmp_path: Path) -> None:
    """Converted frames are close to a live camera's processed frames; encoding makes most of the difference."""
    embodiment, source = load_embodiment("aloha_gr1"), opened(aloha_dataset)
    files = convert_episode(source, 0, numbered(source, 0, embodiment), embodiment, OPTIONS, tmp_path)
    video = files["videos/chunk-000/ego_view/episode_000007.mp4"]
    info = probe(video)
    assert (info.codec, info.width, info.height, info.frames, info.fps, info.gop) == ("h264", 256, 256, 160, 20.0, 2)
    with source.clip(0, "observation.images.top").location.as_local() as path:
        live = [
            fit_frame(frame, 256, "crop")
            for frame in frames(path, [min(int((i / 20) * 50), 399) for i in (0, 61, 159)])
        ]
    for ours, expected in zip(frames(video, [0, 61, 159]), live, strict=True):
        difference = ours.astype(int) - expected
        assert np.abs(difference).mean() < 1.5
        assert 10 * np.log10(255**2 / (difference**2).mean()) > 38


def test_equal_arguments_give_equal_bytes(ball2: Path, tmp_path: Path) -> None:
    embodiment, source = load_embodiment("trossen_mobile"), opened(ball2)
    made = [
        convert_episode(source, 1, numbered(source, 1, embodiment), embodiment, OPTIONS, tmp_path / name)
        for name in ("one", "two")
    ]
    assert len(made[0]) == 4
    assert list(made[0]) == list(made[1])
    for path in made[0]:
        assert made[0][path].read_bytes() == made[1][path].read_bytes()


def test_in_house_recording(ball2: Path, tmp_path: Path) -> None:
    embodiment, source = load_embodiment("trossen_mobile"), opened(ball2)
    files = convert_episode(source, 0, numbered(source, 0, embodiment), embodiment, OPTIONS, tmp_path)
    table = pq.read_table(files["data/chunk-000/episode_000007.parquet"])
    recorded = source.read_columns(0, ["observation.state", "action"])
    kept = [min(int((i / 20) * 30), 44) for i in range(30)]
    np.testing.assert_array_equal(np.stack(table["observation.state"].to_pylist()), recorded["observation.state"][kept])
    np.testing.assert_array_equal(np.stack(table["action"].to_pylist()), recorded["action"][kept])
    for camera in ("cam_high", "cam_left_wrist", "cam_right_wrist"):
        assert probe(files[f"videos/chunk-000/observation.images.{camera}/episode_000007.mp4"]).frames == 30


def test_real_humanoid_recording(shared_dir: Path, tmp_path: Path) -> None:
    embodiment = load_embodiment(Path(__file__).parents[2] / "examples" / "embodiments" / "unitree_g1_pick_bottle.yaml")
    source = opened(shared_dir / "data/g1_pick_bottle")
    files = convert_episode(source, 0, numbered(source, 0, embodiment), embodiment, OPTIONS, tmp_path)
    table = pq.read_table(files["data/chunk-000/episode_000007.parquet"])
    assert len(table) == int(290 / 30 * 20) and table.schema.field("action").type.list_size == embodiment.action_dim
    (video,) = (path for name, path in files.items() if name.endswith(".mp4"))
    assert probe(video).frames == len(table)


def test_every_rule_and_fit_gives_as_many_images_as_rows(many: Path, tmp_path: Path) -> None:
    embodiment, source = load_embodiment("trossen_mobile"), opened(many)
    cameras = [
        camera.model_copy(update={"fit": fit})
        for camera, fit in zip(embodiment.cameras, ("crop", "letterbox", "stretch"), strict=True)
    ]
    embodiment = embodiment.model_copy(update={"cameras": cameras})
    for rule in ("index", "linspace", "timestamp"):
        options = ConversionOptions(resample=rule, resolution=64)
        files = convert_episode(source, 3, numbered(source, 3, embodiment), embodiment, options, tmp_path / rule)
        rows = len(pq.read_table(files["data/chunk-000/episode_000007.parquet"]))
        assert rows == 22
        assert {probe(path).frames for name, path in files.items() if name.endswith(".mp4")} == {rows}


def test_dropped_frames_by_timestamp(tmp_path: Path) -> None:
    """A recording that lost ten frames keeps its speed: the gap shows the frame nearest in time."""
    source_path = write_ball2(tmp_path / "gap", [60], size=(48, 64), codec="h264")
    file = source_path / "data/chunk-000/episode_000000.parquet"
    table = pq.read_table(file)
    columns = {name: np.stack(table[name].to_pylist()) for name in table.column_names}
    times = np.arange(60) / 30
    times[30:] += 10 / 30
    write_parquet(file, {**columns, "timestamp": times})
    embodiment, source = load_embodiment("trossen_mobile"), opened(source_path)
    options = ConversionOptions(resample="timestamp", resolution=64)
    assert measure_episode(source, 0, embodiment, options).length == int(70 / 30 * 20)
    files = convert_episode(source, 0, numbered(source, 0, embodiment), embodiment, options, tmp_path / "out")
    state = np.stack(pq.read_table(files["data/chunk-000/episode_000007.parquet"])["observation.state"].to_pylist())
    assert len(state) == int(70 / 30 * 20)
    nearest = [int(np.abs(times - (k / 20 - 1e-6)).argmin()) for k in range(len(state))]
    np.testing.assert_array_equal(state, columns["observation.state"][nearest])


def test_deltas_are_summed(many: Path, tmp_path: Path) -> None:
    embodiment, source = load_embodiment("trossen_mobile"), opened(many)
    action = [c.model_copy(update={"kind": "delta"}) if c.key == "base_vel" else c for c in embodiment.action]
    embodiment = embodiment.model_copy(update={"action": action})
    options = ConversionOptions(resolution=64)
    files = convert_episode(source, 0, numbered(source, 0, embodiment), embodiment, options, tmp_path)
    ours = np.stack(pq.read_table(files["data/chunk-000/episode_000007.parquet"])["action"].to_pylist())
    recorded = source.read_columns(0, ["action"])["action"]
    kept = [int((i / 20) * 30) for i in range(17)]
    for k in range(16):
        np.testing.assert_allclose(ours[k, :2], recorded[kept[k] : kept[k + 1], :2].sum(axis=0), rtol=1e-5)
        np.testing.assert_array_equal(ours[k, 2:], recorded[kept[k], 2:])


def slow_down(path: Path) -> None:
    info = json.loads((path / "meta/info.json").read_text())
    (path / "meta/info.json").write_text(json.dumps({**info, "fps": 10}))


def narrow(path: Path) -> None:
    file = path / "data/chunk-000/episode_000001.parquet"
    table = pq.read_table(file)
    action = pa.array([row[:15] for row in table["action"].to_pylist()])
    pq.write_table(table.set_column(table.column_names.index("action"), "action", action), file)


def drop_column(path: Path) -> None:
    file = path / "data/chunk-000/episode_000001.parquet"
    table = pq.read_table(file)
    pq.write_table(table.drop_columns(["observation.state"]), file)


def cut(path: Path) -> None:
    file = path / "videos/chunk-000/cam_left_wrist/episode_000001.mp4"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def remove(path: Path) -> None:
    (path / "videos/chunk-000/cam_right_wrist/episode_000001.mp4").unlink()


def shorten(path: Path) -> None:
    """Use the previous episode's video, which has fewer frames than this episode has rows."""
    folder = path / "videos/chunk-000/cam_high"
    shutil.copy(folder / "episode_000000.mp4", folder / "episode_000001.mp4")


def truncate_parquet(path: Path) -> None:
    file = path / "data/chunk-000/episode_000001.parquet"
    file.write_bytes(file.read_bytes()[:-100])


BREAKAGES: list[tuple[Callable[[Path], None], str]] = [
    (slow_down, r"recorded at 10 frames per second, fewer than the target"),
    (narrow, r"column 'action' has 15 dimensions, but meta/info.json says 16"),
    (drop_column, r"column 'observation.state' is missing"),
    (cut, r"camera 'observation.images.cam_left_wrist'.*truncated"),
    (remove, r"the video of camera 'observation.images.cam_right_wrist' is missing"),
    (shorten, r"camera 'observation.images.cam_high': the video has 24 frames for 27 rows"),
    (truncate_parquet, r"truncated"),
]


@pytest.mark.parametrize(("damage", "sentence"), BREAKAGES, ids=[damage.__name__ for damage, _ in BREAKAGES])
def test_a_broken_episode_is_named(many: Path, tmp_path: Path, damage: Callable[[Path], None], sentence: str) -> None:
    path = tmp_path / "broken"
    shutil.copytree(many, path)
    damage(path)
    embodiment, source = load_embodiment("trossen_mobile"), opened(path)
    with pytest.raises(DataError, match=f"episode 1 of .*{sentence}"):
        measure_episode(source, 1, embodiment, OPTIONS)
        convert_episode(
            source, 1, Numbering(0, 0, {t: 0 for t in source.tasks.values()}), embodiment, OPTIONS, tmp_path / "out"
        )


def test_an_episode_that_is_too_short(many: Path) -> None:
    embodiment, source = load_embodiment("trossen_mobile"), opened(many)
    with pytest.raises(DataError, match="episode 0 of .* too short"):
        measure_episode(replace(source, fps=600.0), 0, embodiment, OPTIONS)


def test_tables_keep_every_kind_of_value() -> None:
    columns = {
        "vector": np.arange(6, dtype=np.float32).reshape(3, 2)[::-1],
        "number": np.array([1, 2, 3], np.int64)[::-1],
        "done": np.array([True, False, True]),
        "swapped": np.array([1.5, 2.5, 3.5], ">f4"),
        "text": np.array(["a", "b", "c"]),
    }
    table = to_table(columns)
    for name, values in columns.items():
        assert table.column(name).to_pylist() == values.tolist(), name
