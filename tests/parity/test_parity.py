"""The comparison with the reference: everything agrees, and a comparison that should fail does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from groot_ray.errors import ConfigurationError
from groot_ray.model.family import ModelFamily
from groot_ray.model.n1d6.family import FAMILY
from groot_ray.parity import run
from groot_ray.parity.check import Check, close
from groot_ray.parity.families import family_module
from groot_ray.parity.n1d6.recorder import window_order
from groot_ray.parity.report import failed, print_table

CUT = Path(__file__).resolve().parents[1] / "fixtures" / "groot_n1d6"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {f"{check.part} {check.quantity}": check for check in checks}


def test_the_committed_cut_agrees() -> None:
    checks = run(CUT)
    assert failed(checks) == []
    passed = {name for name, check in by_name(checks).items() if check.ok}
    for name in (
        "network train llm_layer2",
        "network train dit_block7",
        "network train loss",
        "network denoised actions",
        "network infer dit_block3.2",
        "network bf16 denoised actions",
        "network 3B names and shapes",
        "network decayed parameters",
        "data eval images",
        "data eval action, normalized",
        "data batch pixel values 3",
        "data decoded action eef",
        "data stats.json action std",
        "data relative_stats.json eef q99",
        "data shards",
        "data samples of the stream: action",
    ):
        assert name in passed, name


def test_the_cut_is_small() -> None:
    assert sum(path.stat().st_size for path in CUT.rglob("*") if path.is_file()) <= 3_000_000


def test_the_whole_fixtures_agree(shared_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checks = run(shared_dir / "fixtures" / "groot_n1d6", shared_dir / "tokenizer")
    print_table(checks)
    assert failed(checks) == [], capsys.readouterr().out
    assert all(check.ok for check in checks)
    names = by_name(checks)
    assert any(name.startswith("network gradients") for name in names)
    assert {
        "network weights after them: largest",
        "network mixed bf16 loss",
        "data prompt tokens",
        "data batch input_ids",
    } <= set(names)


@pytest.mark.parametrize(
    ("without", "still", "reported"),
    [
        (["model", "data/processor"], "data relative_stats.json eef q99", "no data/processor/processor_config.json"),
        (["model", "data"], "data stats.json action std", "no data/prompt.json"),
        (["model", "dataset/videos"], "data samples of the stream: action", "no dataset/videos"),
        (["model/inputs.npz", "dataset"], "data eval images", "no model/inputs.npz"),
    ],
)
def test_a_folder_with_some_of_it_is_compared_as_far_as_it_goes(
    without: list[str], still: str, reported: str, tmp_path: Path
) -> None:
    folder = tmp_path / "fixtures"
    shutil.copytree(CUT, folder)
    for name in without:
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    checks = run(folder)
    assert failed(checks) == []
    assert by_name(checks)[still].ok
    assert reported in {check.note for check in checks if check.ok is None}


def test_differences_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "fixtures"
    shutil.copytree(CUT, folder)
    change(folder / "model" / "train_fp32.npz", "dit_block2", 1e-3)
    change(folder / "data" / "processor_sample.npz", "eval.images", 1)
    stats = json.loads((folder / "dataset" / "meta" / "stats.json").read_text())
    stats["action"]["mean"][0] += 1e-3
    (folder / "dataset" / "meta" / "stats.json").write_text(json.dumps(stats))
    wrong = {f"{check.part} {check.quantity}" for check in failed(run(folder))}
    assert wrong == {
        "network train dit_block2",
        "data eval images",
        "data stats.json action mean",
        "data merged statistics action arm",
    }


def change(file: Path, name: str, by: float) -> None:
    arrays = dict(np.load(file))
    arrays[name] = arrays[name] + np.asarray(by, arrays[name].dtype)
    np.savez(file, **arrays)


def test_what_is_missing_is_said_and_an_error_is_a_failure(tmp_path: Path) -> None:
    folder = tmp_path / "fixtures"
    shutil.copytree(CUT / "data", folder / "data")
    checks = by_name(run(folder))
    assert checks["network network"].ok is None
    assert checks["data statistics"].ok is None
    assert checks["data eval images"].ok is True
    (folder / "data" / "prompt.json").write_text("{")
    assert by_name(run(folder))["data prompt"].ok is False


def test_a_folder_with_nothing_to_compare_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing to compare"):
        run(tmp_path)
    with pytest.raises(ConfigurationError, match="is not a folder"):
        run(tmp_path / "none")


def test_window_order() -> None:
    assert window_order(2, 3, window=2).tolist() == [0, 1, 3, 4, 2, 5]
    assert sorted(window_order(18, 18).tolist()) == list(range(324))


def test_elements_and_vectors_have_their_own_scale() -> None:
    theirs = np.array([[100.0, 0.5], [0.0, 0.5]])
    ours = theirs + np.array([[0.0, 1e-4], [0.0, 0.0]])
    assert close("", "", ours, theirs, 1e-5).difference == pytest.approx(1e-4)
    assert close("", "", ours, theirs, 1e-5, vectors=True).difference == pytest.approx(1e-6)
    assert close("", "", ours[:1], theirs).ok is False
    assert close("", "", np.full((2, 2), np.nan), theirs).difference == float("inf")


def test_many_images_of_several_sizes_and_unknown_quantities(tmp_path: Path) -> None:
    """A folder with twelve images, two of them in one tensor, recorded from the network itself: order and packing must
    be right.
    """
    folder = tmp_path / "fixtures" / "model"
    shutil.copytree(CUT / "model", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tune_top_llm_layers": 2, "num_inference_timesteps": 3}))
    for name in ("train_fp32.npz", "infer_fp32.npz", "infer_bf16.npz", "param_info.json", "mixed_dtypes.json"):
        (folder / name).unlink()
    sizes = [(1, 56, 84), (2, 84, 252), *[(1, 28 * (2 + k % 3), 56) for k in range(9)]]
    rng = np.random.default_rng(0)
    images = [rng.uniform(-1, 1, (n, 3, height, width)).astype(np.float32) for n, height, width in sizes]
    tokens = sum(n * height * width // 784 for n, height, width in sizes)
    ids = np.concatenate([[1, 2, 3], np.full(tokens, 10), [4, 5]])[None]
    inputs = {k: v for k, v in np.load(folder / "inputs.npz").items() if not k.startswith("pixel_values")}
    inputs |= {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    np.savez(folder / "inputs.npz", **inputs, **{f"pixel_values_{i}": image for i, image in enumerate(images)})
    model = FAMILY.load_network(folder)
    batch = {key: torch.from_numpy(inputs[key]) for key in ("input_ids", "attention_mask", "state", "embodiment_id")}
    alone = [torch.from_numpy(image[None]) for group in images for image in group]
    with torch.no_grad():
        tower = [model.backbone.model.vision_model(image) for image in alone]
        connected = torch.cat([model.backbone.image_tokens([image]) for image in alone])
    noise = torch.from_numpy(inputs["infer_noise"])
    actions = model.eval().predict({**batch, "pixel_values": alone}, noise)
    np.savez(
        folder / "infer_fp32.npz",
        vision_last_hidden_state=torch.cat([features[0] for features in tower])[None].numpy(),
        mlp1_out=connected[None].numpy(),
        action_pred=actions.numpy(),
        something_else=np.zeros(3),
    )
    checks = by_name(run(tmp_path / "fixtures"))
    assert checks["network infer vision_last_hidden_state"].ok and checks["network infer mlp1_out"].ok
    assert checks["network denoised actions"].ok and checks["network infer something_else"].ok is None
    assert checks["network mixed bf16 loss"].ok is None  # what is not recorded is said
    assert failed(list(checks.values())) == []


def test_a_family_without_recordings_is_named() -> None:
    class Family:
        model_type = "toy"

    with pytest.raises(ConfigurationError, match="outputs of model type 'toy' cannot be compared"):
        family_module(cast(ModelFamily, Family()), "prompt")
