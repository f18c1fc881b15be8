"""The data of a run: images in memory, samples, tag, modality configuration, statistics."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from groot_ray.dataset.groot.dataset import GrootDataset
from groot_ray.embodiment.modality import modality_configs
from groot_ray.errors import ConfigurationError
from groot_ray.model.n1d6.processor import Processor
from groot_ray.model.shared.flow import FlowNoise
from groot_ray.train.order.sampler import BatchPlan
from groot_ray.train.start.modalities import choose_modality_configs, choose_statistics, choose_tag
from groot_ray.train.step.frames import DatasetInMemory
from groot_ray.train.step.samples import SampleMaker

PICTURE = 64 * 64 * 3


def without_embodiment(train_set: Path, folder: Path) -> GrootDataset:
    copy = Path(shutil.copytree(train_set, folder))
    (copy / "meta" / "embodiment.json").unlink()
    return GrootDataset(copy)


@pytest.mark.parametrize("room", [0, 5 * PICTURE, 10**9])
def test_images_in_memory_equal_those_of_the_file(train_set: Path, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, kept = GrootDataset(train_set), DatasetInMemory(train_set, room)
    decoded: list[int] = []
    frames = GrootDataset.frames

    def counted(self, position, key, indices):
        if isinstance(self, DatasetInMemory):
            decoded.extend(indices)
        return frames(self, position, key, indices)

    monkeypatch.setattr(GrootDataset, "frames", counted)
    for _ in range(3):
        for indices in ([0], [3, 3, 4], [23, 0], [7, 8, 9]):
            assert np.array_equal(kept.frames(0, "ego_view", indices), plain.frames(0, "ego_view", indices))
    # Seven different images, one of them requested twice; with room for five, the last two are read again each time.
    assert len(decoded) == {0: 3 * 8, 5: 7 + 2 * 2, 10**9 // PICTURE: 7}[room // PICTURE]
    again = pickle.loads(pickle.dumps(kept))
    assert np.array_equal(again.frames(1, "ego_view", [2]), plain.frames(1, "ego_view", [2]))


def test_a_sample_does_not_depend_on_its_worker_and_micro_batch(train_set: Path, base: Path) -> None:
    import torch

    dataset = DatasetInMemory(train_set, 10**9)
    configs = modality_configs(dataset.embodiment)
    processor = Processor.from_directory(base, color_jitter_params={"brightness": 0.5})
    processor.set_embodiment("GR1", configs, dataset.statistics(configs))

    def batch(workers: int, accumulation: int):
        plan = BatchPlan(8, workers, accumulation)
        makers = [
            SampleMaker(dataset, configs, "GR1", processor, FlowNoise(16, 32), plan, 5, rank, "drop")
            for rank in range(workers)
        ]
        pieces = [makers[rank](3, micro) for micro in range(accumulation) for rank in range(workers)]
        whole = {
            key: torch.cat([piece.inputs[key] for piece in pieces])
            for key in ("state", "action", "action_mask", "pixel_values")
        }
        return {
            **whole,
            "noise": torch.cat([p.draws["noise"] for p in pieces]),
            "time": torch.cat([p.draws["time"] for p in pieces]),
        }, pieces

    one, _ = batch(1, 1)
    for workers, accumulation in ((2, 1), (3, 1), (1, 3), (2, 2)):
        other, pieces = batch(workers, accumulation)
        assert all(torch.equal(one[key], other[key]) for key in one)
        assert sum(piece.mask_sum for piece in pieces) == float(one["action_mask"].sum()) == 8 * 16 * 29
        assert sum(piece.samples for piece in pieces) == 8


def test_the_tag_is_given_or_the_datasets(train_set: Path, base: Path, tmp_path: Path) -> None:
    processor = Processor.from_directory(base)
    assert choose_tag(None, GrootDataset(train_set), processor) == "GR1"
    assert choose_tag("new-embodiment", GrootDataset(train_set), processor) == "NEW_EMBODIMENT"
    with pytest.raises(ConfigurationError, match="NEW_EMBODIMENT"):
        choose_tag("custom_robot", GrootDataset(train_set), processor)
    with pytest.raises(ConfigurationError, match="--embodiment-tag"):
        choose_tag(None, without_embodiment(train_set, tmp_path / "bare"), processor)


def test_precedence_of_modality_configurations(train_set: Path, base: Path, tmp_path: Path) -> None:
    dataset, processor = GrootDataset(train_set), Processor.from_directory(base)
    own = modality_configs(dataset.embodiment)
    bare = without_embodiment(train_set, tmp_path / "bare")
    assert choose_modality_configs({"given": 1}, "GR1", dataset, processor) == (
        {"given": 1},
        "the given modality configuration",
    )
    assert choose_modality_configs(None, "GR1", dataset, processor)[0] == own
    with pytest.raises(ConfigurationError, match="--modality-config-path"):
        choose_modality_configs(None, "GR1", bare, processor)
    assert "GR00T N1.6's own" in choose_modality_configs(None, "UNITREE_G1", bare, processor)[1]
    processor.set_embodiment("GR1", own, dataset.statistics(own))
    configs, origin = choose_modality_configs(None, "GR1", bare, processor)
    assert configs == processor.modality_configs["gr1"] and "base checkpoint" in origin


def test_statistics_of_another_horizon_are_computed(train_set: Path, tmp_path: Path) -> None:
    dataset = GrootDataset(train_set)
    configs = json.loads(json.dumps(modality_configs(dataset.embodiment)))
    ready = choose_statistics(dataset, configs)
    assert ready == dataset.statistics(configs)
    configs["action"]["delta_indices"] = list(range(8))
    shorter = choose_statistics(dataset, configs)
    assert all(len(entry["min"]) == 8 for entry in shorter["relative_action"].values())
    assert shorter["state"] == ready["state"]
    # Longer chunks begin with the steps of shorter ones, of which there are more.
    key = next(iter(shorter["relative_action"]))
    assert np.all(
        np.array(shorter["relative_action"][key]["min"]) <= np.array(ready["relative_action"][key]["min"])[:8]
    )
