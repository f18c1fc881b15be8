"""The statistics files against the reference's, against float64 truth, and with the work divided differently."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from groot_ray.dataset.groot.dataset import GrootDataset, layout
from groot_ray.embodiment.load import load_embodiment
from groot_ray.embodiment.mapping import map_columns
from groot_ray.embodiment.modality import modality_configs
from groot_ray.errors import DataError
from groot_ray.statistics import columns
from groot_ray.statistics.files import Memory, compute_statistics, dataset_statistics
from groot_ray.storage import open_location

NAMES = ("mean", "std", "min", "max", "q01", "q99")


@pytest.fixture(scope="module")
def reference(shared_dir: Path) -> tuple[Path, dict]:
    root = shared_dir / "fixtures/groot_n1d6"
    return root / "dataset", json.loads((root / "data/modality_configs.json").read_text())["new_embodiment"]


WAYS = {
    "all rows": Memory(),
    "brackets": Memory(rows=40),
    "rank search": Memory(rows=40, between=0),
}


@pytest.mark.parametrize("way", WAYS)
def test_equal_to_the_reference(reference, way: str) -> None:
    path, configs = reference
    absolute, relative = dataset_statistics(open_location(path), configs, memory=WAYS[way])
    for ours, name in ((absolute, "stats.json"), (relative, "relative_stats.json")):
        theirs = json.loads((path / "meta" / name).read_text())
        assert list(ours) == list(theirs)
        for key in theirs:
            assert list(ours[key]) == list(theirs[key])
            for statistic in theirs[key]:
                assert np.shape(ours[key][statistic]) == np.shape(theirs[key][statistic])
                np.testing.assert_allclose(ours[key][statistic], theirs[key][statistic], atol=1e-6, rtol=0)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A dataset without videos, with the padding and constants of a real embodiment."""
    embodiment = load_embodiment("aloha_gr1")
    root = tmp_path_factory.mktemp("small")
    rng = np.random.default_rng(0)
    episodes = []
    for index, length in enumerate((40, 7, 25, 16, 90)):
        walk = np.cumsum(rng.normal(0, 0.1, (length, 14)), axis=0).astype(np.float32)
        state = map_columns(embodiment, "state", {"observation.state": walk})
        action = map_columns(embodiment, "action", {"action": walk + np.float32(0.05)})
        table = layout.episode_columns(state, action, 20.0, index, 0, 0)
        arrays = {name: pa.array(list(values)) for name, values in table.items()}
        path = root / layout.data_path(index)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(arrays), path)
        episodes.append(layout.WrittenEpisode(index, length, ("move",)))
    for name, content in layout.meta_files(
        embodiment, episodes, ["move"], 20.0, layout.VideoFormat(256, "h264")
    ).items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content if isinstance(content, str) else json.dumps(content))
    return root, modality_configs(embodiment)


def truth(rows: np.ndarray) -> dict[str, np.ndarray]:
    rows = rows.astype(np.float64)
    q01, q99 = np.quantile(rows, [0.01, 0.99], axis=0)
    return {"mean": rows.mean(0), "std": rows.std(0), "min": rows.min(0), "max": rows.max(0), "q01": q01, "q99": q99}


def test_equal_to_float64_truth(small) -> None:
    path, configs = small
    absolute, relative = dataset_statistics(open_location(path), configs)
    dataset = GrootDataset(path)
    tables = [pq.read_table(dataset.data(i)) for i in range(len(dataset))]
    assert list(absolute) == ["observation.state", "action", "timestamp"]
    for column in absolute:
        rows = np.concatenate([np.stack(t[column].to_pylist()).reshape(len(t), -1) for t in tables]).astype(np.float32)
        for name, expected in truth(rows).items():
            np.testing.assert_allclose(absolute[column][name], expected, atol=1e-6)
    assert list(relative) == ["left_arm", "right_arm"]
    for key in relative:
        chunks = []
        for position in range(len(dataset)):
            arrays = dataset.arrays(position)
            for i in range(arrays.length - 15):
                chunks.append(arrays.action[key][i : i + 16] - arrays.state[key][i])
        assert len(chunks) == (40 - 15) + 0 + (25 - 15) + (16 - 15) + (90 - 15)
        for name, expected in truth(np.stack(chunks)).items():
            assert np.shape(relative[key][name]) == (16, 7)
            np.testing.assert_allclose(relative[key][name], expected, atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_parts_and_ways_do_not_matter(small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    path, configs = small
    for name in ("one", "two"):
        shutil.copytree(path, tmp_path / name)
    written = compute_statistics(tmp_path / "one", configs)
    assert [file.name for file in written] == ["stats.json", "relative_stats.json"]
    monkeypatch.setattr(columns, "FILES_PER_PART", 2)

    def backwards(function, parts):
        """Compute the parts in reverse, as workers might, but return them in order."""
        assert len(parts) == 3
        return reversed([function(part) for part in reversed(parts)])

    compute_statistics(tmp_path / "two", configs, map_parts=backwards, memory=WAYS[way])
    for name in ("stats.json", "relative_stats.json"):
        one, two = (json.loads((tmp_path / which / "meta" / name).read_text()) for which in ("one", "two"))
        for key in one:
            for statistic in NAMES:
                np.testing.assert_allclose(one[key][statistic], two[key][statistic], rtol=1e-12, atol=1e-15)


def test_the_processor_takes_them(small, tmp_path: Path) -> None:
    path, configs = small
    shutil.copytree(path, tmp_path / "dataset")
    compute_statistics(tmp_path / "dataset", configs)
    content = GrootDataset(tmp_path / "dataset").statistics(configs)
    assert np.shape(content["relative_action"]["left_arm"]["min"]) == (16, 7)
    assert np.shape(content["state"]["right_hand"]["q99"]) == (6,)


def test_on_s3(small, s3) -> None:
    from groot_ray.storage.tree import upload_tree

    path, configs = small
    target = open_location(f"s3://{s3.name}/dataset")
    upload_tree(path, target)
    for file in compute_statistics(target, configs):
        assert file.exists()
    local = dataset_statistics(open_location(path), configs)
    assert (target / "meta/stats.json").read_json() == local[0]
    assert (target / "meta/relative_stats.json").read_json() == local[1]


def test_broken_data_is_named(small, tmp_path: Path) -> None:
    path, configs = small
    broken = tmp_path / "broken"
    shutil.copytree(path, broken)
    file = broken / layout.data_path(2)
    table = pq.read_table(file)
    rows = np.stack(table["action"].to_pylist())
    rows[3, 4] = np.nan
    pq.write_table(table.set_column(table.column_names.index("action"), "action", pa.array(list(rows))), file)
    with pytest.raises(DataError, match=r"episode_000002.parquet, column 'action': row 3 .*not finite"):
        compute_statistics(broken, configs)
    file.unlink()
    with pytest.raises(DataError, match="no file data/chunk-000/episode_000002.parquet"):
        compute_statistics(broken, configs)
    assert not (broken / "meta/stats.json").exists()
