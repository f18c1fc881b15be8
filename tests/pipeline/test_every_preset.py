"""Every preset, and the Unitree G1 of the examples, from recordings to an evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import write_ball2

from groot_ray.dataset.checks.validate import validate_dataset
from groot_ray.dataset.groot.dataset import GrootDataset
from groot_ray.experiment.document import build_document
from groot_ray.model.n1d6.processor import Processor
from groot_ray.stages import run_all

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


pytestmark = pytest.mark.usefixtures("one_ray")


def pipeline(
    folder: Path, source: Path, embodiment: str, steps: int, **changes: Any
) -> tuple[GrootDataset, Path, dict[str, Any]]:
    """Run the four stages; returns the converted train part, the last checkpoint and the metrics."""
    values: dict[str, Any] = {
        "experiment.storage.uri": str(folder / "outputs"),
        "experiment.storage.cache": str(folder / "cache"),
        "experiment.model.base": None,
        "experiment.model.size": "tiny",
        "experiment.training.global_batch_size": 4,
        "experiment.training.max_steps": steps,
        "experiment.training.dataloader_num_workers": 1,
        "experiment.training.num_workers": 0,  # workers are tests/train/test_launcher.py's and the whole pipeline's
        "experiment.evaluation.steps": 32,
        "experiment.evaluation.baselines": False,
        "experiment.evaluation.plots": False,
        **changes,
    }
    data = {
        "experiment": {
            "name": "preset",
            "source": {"uri": str(source)},
            "embodiment": embodiment,
            "splits": {"test": 1},
        }
    }
    outcomes = {outcome.stage: outcome for outcome in run_all(build_document(data, values))}
    part = outcomes["convert"].folder.path / "train"
    checkpoint = outcomes["finetune"].folder.path / f"checkpoint-{steps}"
    metrics = json.loads((outcomes["evaluate"].folder.path / "metrics.json").read_text())
    assert validate_dataset(part).problems == []
    return GrootDataset(part), checkpoint, metrics


def own_dimensions(metrics: dict[str, Any]) -> int:
    return sum(dimension["real"] for dimension in metrics["dimensions"])


@pytest.mark.parametrize(
    ("preset", "tag", "columns", "dims", "own", "cameras"),
    [
        ("aloha", "new_embodiment", 14, 14, 14, {"top": "observation.images.top"}),
        ("aloha_gr1", "gr1", 29, 29, 14, {"ego_view": "ego_view"}),
        ("aloha_gr1_full", "gr1", 44, 29, 14, {"ego_view": "ego_view"}),
    ],
)
def test_aloha_presets(
    preset: str,
    tag: str,
    columns: int,
    dims: int,
    own: int,
    cameras: dict[str, str],
    aloha_dataset: Path,
    tmp_path: Path,
) -> None:
    changes = {"experiment.source.episodes": [0, 1]}
    if preset == "aloha_gr1_full":  # as in the guide
        changes["experiment.conversion.resample"] = "linspace"
    dataset, checkpoint, metrics = pipeline(tmp_path, aloha_dataset, preset, 5, **changes)
    assert dataset.info["features"]["action"]["shape"] == [columns]
    modality = json.loads((dataset.path / "meta" / "modality.json").read_text())
    assert {key: entry["original_key"] for key, entry in modality["video"].items()} == cameras
    assert all((dataset.path / "videos" / "chunk-000" / folder).is_dir() for folder in cameras.values())
    assert Processor.from_directory(checkpoint).dims(tag)[1] == dims
    assert (len(metrics["dimensions"]), own_dimensions(metrics)) == (dims, own)


def test_the_inhouse_pipeline(tmp_path: Path) -> None:
    source = write_ball2(tmp_path / "ball2_groot", episodes=3, frames=60)
    dataset, checkpoint, metrics = pipeline(
        tmp_path, source, "trossen_mobile", 5, **{"experiment.conversion.codec": "mp4v"}
    )
    assert [episode.length for episode in dataset.episodes] == [40, 40]
    assert dataset.info["features"]["observation.state"]["shape"] == [19]
    assert dataset.info["features"]["action"]["shape"] == [16]
    folders = sorted(path.name for path in (dataset.path / "videos" / "chunk-000").iterdir())
    assert folders == [
        "observation.images.cam_high",
        "observation.images.cam_left_wrist",
        "observation.images.cam_right_wrist",
    ]
    relative = json.loads((dataset.path / "meta" / "relative_stats.json").read_text())
    assert sorted(relative) == ["left_arm", "right_arm"]
    assert (len(relative["left_arm"]["mean"]), len(relative["left_arm"]["mean"][0])) == (16, 7)
    assert Processor.from_directory(checkpoint).dims("NEW_EMBODIMENT") == (19, 16, 16)
    assert set(metrics["components"]) == {"base_vel", "left_arm", "right_arm"}


def test_a_real_unitree_g1(shared_dir: Path, tmp_path: Path) -> None:
    source = shared_dir / "data" / "g1_pick_bottle"
    embodiment = str(EXAMPLES / "embodiments" / "unitree_g1_pick_bottle.yaml")
    changes = {"experiment.source.episodes": [0, 2], "experiment.embodiment_tag": "NEW_EMBODIMENT"}
    dataset, checkpoint, metrics = pipeline(tmp_path, source, embodiment, 20, **changes)
    assert dataset.info["features"]["action"]["shape"] == [26]
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    assert state["global_step"] == 20
    assert len(metrics["dimensions"]) == own_dimensions(metrics) == 26
