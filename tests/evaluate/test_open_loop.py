"""Whole evaluations of tiny models on real ALOHA episodes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groot_ray.dataset.groot.dataset import GrootDataset
from groot_ray.errors import ConfigurationError, DataError, TemporaryFailureError
from groot_ray.evaluate.metrics import score
from groot_ray.evaluate.open_loop import evaluate
from groot_ray.evaluate.plan import EvaluationPlan
from groot_ray.evaluate.predict import observe
from groot_ray.experiment.schema import EvaluationOptions
from groot_ray.model.n1d6.family import FAMILY
from groot_ray.model.shared.weights import save_network
from groot_ray.policy.load import load_policy
from groot_ray.progress import Progress
from groot_ray.storage import open_location


def options(**changes: Any) -> EvaluationOptions:
    return EvaluationOptions(**{"steps": 40, "plots": False, "baselines": False, **changes})


def run_evaluation(
    checkpoints: Path | list[Path], dataset: Path | None, output: Path, chosen: EvaluationOptions, **more: Any
) -> dict[str, Any]:
    plan = EvaluationPlan(
        [open_location(c) for c in (checkpoints if isinstance(checkpoints, list) else [checkpoints])],
        open_location(dataset) if dataset else None,
        open_location(output),
        chosen,
        tag=more.pop("tag", None),
        tokenizer=more.pop("tokenizer", None),
        device="cpu",
    )
    return evaluate(plan, **more)


@pytest.fixture(scope="module")
def whole(
    run_folder: Path, converted_aloha: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """An evaluation with everything: plots, baselines, two trajectories."""
    output = tmp_path_factory.mktemp("evaluation")
    progress = Progress("evaluate", None, "trajectories")
    metrics = run_evaluation(run_folder, None, output, options(plots=True, baselines=True), progress=progress)
    assert (progress.done, progress.total) == (4, 4)  # two trajectories of the checkpoint and of the untrained model
    return output, metrics


def test_all_files_are_there(whole: tuple[Path, dict[str, Any]]) -> None:
    output, metrics = whole
    names = {str(path.relative_to(output)) for path in output.rglob("*")}
    plots = {f"trajectory_{i}_{kind}.png" for i in (0, 1) for kind in ("comparison", "cameras")}
    assert names == {"metrics.json", "evaluation_summary.txt", *plots}
    assert json.loads((output / "metrics.json").read_text()) == metrics
    assert metrics["name"] == "step_200"  # the last
    summary = (output / "evaluation_summary.txt").read_text()
    assert f"{metrics['average']['real']['mae']:.6f}" in summary
    assert all((output / name).stat().st_size > 20_000 for name in plots)


def test_the_numbers_are_those_of_the_policy(
    whole: tuple[Path, dict[str, Any]], run_folder: Path, converted_aloha: Path
) -> None:
    """Predictions made one by one through the policy, rated explicitly."""
    _, metrics = whole
    dataset, policy = GrootDataset(converted_aloha / "test"), load_policy(run_folder / "checkpoint-200", "GR1", "cpu")
    maes = []
    for trajectory in (0, 1):
        chunks = []
        for start in (0, 16, 32):
            actions, _ = policy.get_action(observe(dataset, trajectory, [start], policy), seed=[(0, trajectory, start)])
            chunks.append(
                np.concatenate([actions[key][0] for key in policy.modality["action"]["modality_keys"]], axis=1)
            )
        prediction = np.concatenate(chunks)[:40]
        truth = np.concatenate(
            [dataset.arrays(trajectory).action[key][:40] for key in policy.modality["action"]["modality_keys"]], axis=1
        )
        found = metrics["trajectories"][trajectory]
        assert found["all"] == score(prediction, truth, [0.05, 0.1, 0.2]).to_json()
        maes.append(found["all"]["mae"])
    assert metrics["average"]["all"]["mae"] == pytest.approx(np.mean(maes))
    assert metrics["average"]["all"]["mae"] != metrics["average"]["real"]["mae"]
    assert sum(d["real"] for d in metrics["dimensions"]) == 14
    assert metrics["components"]["waist"]["real"] is None


def test_baselines_are_rated_and_judged(
    whole: tuple[Path, dict[str, Any]], run_folder: Path, converted_aloha: Path, tmp_path: Path
) -> None:
    _, metrics = whole
    hold, untrained = metrics["baselines"]["hold"], metrics["baselines"]["untrained"]
    for baseline in (hold, untrained):
        for view in ("all", "real"):
            assert baseline["beaten"][view] == (metrics["average"][view]["mae"] < baseline["average"][view]["mae"])
    assert "fresh weights, size tiny, seed 0" in untrained["description"]
    # What is called untrained is the model of the recorded seed with this checkpoint's processing.
    other = tmp_path / "checkpoint-0"
    shutil.copytree(run_folder / "checkpoint-200", other)
    save_network(FAMILY.new_network("tiny", 0), other)
    direct = run_evaluation(other, converted_aloha, tmp_path / "direct", options())
    assert direct["average"] == untrained["average"]
    # Holding the pose, computed here: the state at the frame of inference; the pads of ALOHA are zeros on both sides.
    dataset = GrootDataset(converted_aloha / "test")
    arrays = [dataset.arrays(position) for position in (0, 1)]
    held = [np.concatenate([np.repeat(a.state[k][0:33:16], 16, axis=0)[:40] for k in a.state], axis=1) for a in arrays]
    truth = [np.concatenate([a.action[k][:40] for k in a.state], axis=1) for a in arrays]
    expected = np.mean([np.abs(h.astype(np.float64) - t).mean() for h, t in zip(held, truth, strict=True)])
    assert hold["average"]["all"]["mae"] == pytest.approx(expected)


def test_the_same_call_gives_the_same_bytes(run_folder: Path, converted_aloha: Path, tmp_path: Path) -> None:
    checkpoint = run_folder / "checkpoint-100"
    first = run_evaluation(checkpoint, converted_aloha / "test", tmp_path / "a", options(batch_size=1))
    second = run_evaluation(checkpoint, converted_aloha / "test", tmp_path / "b", options(batch_size=3))
    assert (tmp_path / "a/metrics.json").read_bytes() == (tmp_path / "b/metrics.json").read_bytes()
    alone = run_evaluation(checkpoint, converted_aloha / "test", tmp_path / "c", options(traj_ids=[1]))
    assert alone["trajectories"] == [first["trajectories"][1]] == [second["trajectories"][1]]
    other = run_evaluation(checkpoint, converted_aloha / "test", tmp_path / "d", options(traj_ids=[1], seed=1))
    assert other["trajectories"] != alone["trajectories"]


def test_several_checkpoints_are_compared(run_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chosen = options(checkpoints=[50, 100, 200, 300], traj_ids=[0], baselines=True)
    metrics = run_evaluation(run_folder, None, tmp_path, chosen)
    assert "no checkpoint of step 50 (removed by save_total_limit" in caplog.text
    assert "step 300 (the run has only reached 200)" in metrics["notes"][0]
    assert list(metrics["checkpoints"]) == ["step_100", "step_200"]
    with (tmp_path / "checkpoint_comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["100", "200"]
    components = ["left_arm_mae", "left_hand_mae", "right_arm_mae", "right_hand_mae", "waist_mae"]
    assert list(rows[0]) == ["step", "mse", "mae", "success_005", "success_01", "success_02", *components]
    maes = {name: entry["average"]["real"]["mae"] for name, entry in metrics["checkpoints"].items()}
    assert metrics["best"] == min(maes, key=lambda name: maes[name])
    for name, entry in metrics["checkpoints"].items():
        assert json.loads((tmp_path / name / "metrics.json").read_text()) == entry
    assert "step 50" in (tmp_path / "evaluation_summary.txt").read_text()
    assert "step 50" in (tmp_path / "step_100" / "evaluation_summary.txt").read_text()
    baselines = [entry["baselines"]["untrained"]["average"] for entry in metrics["checkpoints"].values()]
    assert baselines[0] == baselines[1]


def test_a_base_that_is_gone_is_said_and_the_rest_goes_on(
    run_folder: Path, converted_aloha: Path, tmp_path: Path
) -> None:
    import yaml

    checkpoint = tmp_path / "checkpoint-100"
    shutil.copytree(run_folder / "checkpoint-100", checkpoint)
    conf = yaml.safe_load((checkpoint / "experiment_cfg/conf.yaml").read_text())
    (checkpoint / "experiment_cfg/conf.yaml").write_text(
        yaml.safe_dump({**conf, "base_model_path": str(tmp_path / "gone") + "/"})
    )
    metrics = run_evaluation(checkpoint, None, tmp_path / "out", options(traj_ids=[0], baselines=True))
    assert "average" not in metrics["baselines"]["untrained"]
    assert "gone" in metrics["baselines"]["untrained"]["unavailable"]
    shutil.rmtree(checkpoint / "experiment_cfg")  # as in a checkpoint of another program
    metrics = run_evaluation(checkpoint, converted_aloha, tmp_path / "out", options(traj_ids=[0], baselines=True))
    assert "does not record which weights" in metrics["baselines"]["untrained"]["unavailable"]
    assert metrics["tag"] == "GR1"  # the only one that the checkpoint has


def test_a_base_checkpoint_is_loaded_again(run_folder: Path, tmp_path: Path) -> None:
    import yaml

    checkpoint, base = tmp_path / "checkpoint-100", run_folder / "checkpoint-200"
    shutil.copytree(run_folder / "checkpoint-100", checkpoint)
    conf = yaml.safe_load((checkpoint / "experiment_cfg/conf.yaml").read_text())
    (checkpoint / "experiment_cfg/conf.yaml").write_text(yaml.safe_dump({**conf, "base_model_path": str(base)}))
    metrics = run_evaluation(checkpoint, None, tmp_path / "out", options(traj_ids=[0], baselines=True))
    direct = run_evaluation(base, None, tmp_path / "direct", options(traj_ids=[0]))
    assert metrics["baselines"]["untrained"]["average"] == direct["average"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"traj_ids": [0, 9]}, "no trajectory 9; it has 2, numbered 0 to 1"),
        ({"action_horizon": 20}, "action_horizon 20 is more than the 16 steps"),
        ({"split": "validation"}, "beside which there is no validation part"),
        ({"checkpoints": [7]}, "no checkpoint of step 7 "),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    changes: dict[str, Any], sentence: str, run_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        run_evaluation(run_folder, None, tmp_path / "out", options(**changes))
    assert not (tmp_path / "out").exists()


def test_datasets_that_do_not_fit(run_folder: Path, converted_aloha: Path, tmp_path: Path) -> None:
    checkpoint = run_folder / "checkpoint-100"
    with pytest.raises(ConfigurationError, match="was not trained for embodiment tag NEW_EMBODIMENT; it has GR1"):
        run_evaluation(checkpoint, converted_aloha, tmp_path / "out", options(), tag="NEW_EMBODIMENT")
    with pytest.raises(ConfigurationError, match="is not a dataset in GR00T's layout"):
        run_evaluation(checkpoint, tmp_path, tmp_path / "out", options())
    with pytest.raises(ConfigurationError, match="has no validation part, only test, train"):
        run_evaluation(checkpoint, converted_aloha, tmp_path / "out", options(split="validation"))
    other = tmp_path / "other"
    shutil.copytree(converted_aloha / "test", other)
    modality = json.loads((other / "meta/modality.json").read_text())
    modality["action"]["arm"] = modality["action"].pop("left_arm")
    (other / "meta/modality.json").write_text(json.dumps(modality))
    with pytest.raises(DataError, match="has no action 'left_arm', which the checkpoint was trained with for tag GR1"):
        run_evaluation(checkpoint, other, tmp_path / "out", options())
    modality["action"]["left_arm"] = {"start": 0, "end": 5}
    (other / "meta/modality.json").write_text(json.dumps(modality))
    with pytest.raises(DataError, match="predicts 29 action dimensions, but .* has 27"):
        run_evaluation(checkpoint, other, tmp_path / "out", options())


def test_a_dataset_without_a_description_counts_every_dimension(
    run_folder: Path, converted_aloha: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(converted_aloha / "test", plain)
    (plain / "meta/embodiment.json").unlink()
    metrics = run_evaluation(run_folder, plain, tmp_path / "out", options(traj_ids=[0]))
    assert metrics["average"]["real"] == metrics["average"]["all"]
    assert "every dimension counts as its own" in (tmp_path / "out/evaluation_summary.txt").read_text()
    # A checkpoint that keeps the description makes up for the dataset.
    checkpoint = tmp_path / "checkpoint-200"
    shutil.copytree(run_folder / "checkpoint-200", checkpoint)
    shutil.copyfile(converted_aloha / "train/meta/embodiment.json", checkpoint / "embodiment.json")
    metrics = run_evaluation(checkpoint, plain, tmp_path / "out", options(traj_ids=[0]))
    assert sum(d["real"] for d in metrics["dimensions"]) == 14
    assert metrics["notes"] == []


def test_an_attempt_that_was_taken_over_writes_no_results(run_folder: Path, tmp_path: Path) -> None:
    class TakenOver:
        def check(self) -> None:
            raise TemporaryFailureError("taken over")

    with pytest.raises(TemporaryFailureError):
        run_evaluation(run_folder, None, tmp_path / "out", options(traj_ids=[0]), attempt=TakenOver())
    assert not (tmp_path / "out").exists()


def test_everything_in_s3(run_folder: Path, converted_aloha: Path, s3: Any, tmp_path: Path) -> None:
    from groot_ray.storage.tree import upload_tree

    (run_folder / "checkpoint-200" / "optimizer.safetensors").write_bytes(b"not needed")
    try:
        upload_tree(run_folder, s3.location / "run")
    finally:
        (run_folder / "checkpoint-200" / "optimizer.safetensors").unlink()
    upload_tree(converted_aloha, s3.location / "data")
    chosen = options(traj_ids=[0])
    plan = EvaluationPlan(
        [s3.location / "run"],
        s3.location / "data",
        s3.location / "out",
        chosen,
        cache=str(tmp_path / "cache"),
        device="cpu",
    )
    stored = evaluate(plan)
    local = run_evaluation(run_folder, None, tmp_path / "out", chosen)
    assert stored["trajectories"] == local["trajectories"]
    assert (s3.location / "out/metrics.json").read_json() == stored
    assert not list((tmp_path / "cache").rglob("optimizer.safetensors"))
