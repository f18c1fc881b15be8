from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from training import NoLease, history, largest_difference, tensors

from groot_ray.errors import ConfigurationError, DataError, StoppedError
from groot_ray.storage import open_location
from groot_ray.storage.manifest import hash_file, read_manifest
from groot_ray.train.checkpoints.run_folder import RunFolder

SERVED = {
    "config.json",
    "model.safetensors",
    "processor_config.json",
    "statistics.json",
    "embodiment_id.json",
    "embodiment.json",
    "images.json",
    "tokenizer/vocab.json",
    "experiment_cfg/conf.yaml",
    "experiment_cfg/config.yaml",
    "experiment_cfg/dataset_statistics.json",
    "experiment_cfg/final_model_config.json",
    "experiment_cfg/final_processor_config.json",
}
RESUMED = {"optimizer.safetensors", "trainer_state.json", "rng_state.json"}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_checkpoint_has_what_serving_and_resuming_need_and_no_pickle(train, tmp_path: Path) -> None:
    told = train(tmp_path / "run", max_steps=3)
    folder = tmp_path / "run" / "checkpoint-3"
    assert files(folder) >= SERVED | RESUMED | {"manifest.json"}
    assert not [
        name for name in files(tmp_path / "run") if Path(name).suffix in {".pt", ".pth", ".bin", ".pkl", ".ckpt"}
    ]
    for path in (tmp_path / "run").rglob("*"):
        assert not path.is_file() or path.read_bytes()[:2] not in (
            b"\x80\x02",
            b"\x80\x03",
            b"\x80\x04",
            b"\x80\x05",
            b"PK",
        ), path
    manifest = read_manifest(open_location(folder))
    assert {file["path"] for file in manifest.made["files"]} == files(folder) - {"manifest.json"}
    for file in manifest.made["files"]:
        assert hash_file(open_location(folder / file["path"])) == (file["size"], file["sha256"])
    for name in ("conf", "config"):
        yaml.safe_load((folder / "experiment_cfg" / f"{name}.yaml").read_text())  # plain YAML, no Python objects
    assert [event["step"] for event in told.of("saved")] == [3]
    assert not list((tmp_path / "run" / "recovery").glob("*")) if (tmp_path / "run" / "recovery").exists() else True
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))


def test_a_checkpoint_can_be_served_as_is(train, tmp_path: Path) -> None:
    from groot_ray.policy.load import load_policy

    train(tmp_path / "run", max_steps=2)
    policy = load_policy(tmp_path / "run" / "checkpoint-2", "GR1", "cpu")
    saved = tensors(tmp_path / "run" / "checkpoint-2")
    assert all(bool((saved[name] == value).all()) for name, value in policy.network.state_dict().items())
    assert policy.modality["action"]["modality_keys"] == ["left_arm", "left_hand", "right_arm", "right_hand", "waist"]


def test_training_changes_what_trains_and_nothing_else(train, base: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", max_steps=3)
    before, after = tensors(base), tensors(tmp_path / "run" / "checkpoint-3")
    changed = {name for name in before if not bool((before[name] == after[name]).all())}
    assert {name.split(".")[0] for name in changed} == {"backbone", "action_head"}
    inner = {name for name in changed if name.startswith("backbone.")}
    assert inner and all(name.startswith("backbone.model.language_model.model.layers.1.") for name in inner)
    states = {name.partition(".")[2] for name in after if name.startswith("exp_avg.")}
    assert changed <= states and not any("vision" in name for name in states)


@pytest.mark.parametrize(
    "options",
    [{"tune_visual": True, "tune_llm": True}, {"tune_top_llm_layers": 0, "tune_projector": False, "tune_vlln": False}],
)
def test_tune_flags_decide_what_trains(train, base: Path, tmp_path: Path, options: dict) -> None:
    train(tmp_path / "run", max_steps=2, **options)
    before, after = tensors(base), tensors(tmp_path / "run" / "checkpoint-2")
    changed = {name for name in before if not bool((before[name] == after[name]).all())}
    if "tune_visual" in options:
        assert any(".vision_model." in name for name in changed) and any(".embed_tokens." in name for name in changed)
    else:
        assert changed and all(name.startswith("action_head.model.") for name in changed)
    config = json.loads((tmp_path / "run" / "checkpoint-2" / "config.json").read_text())
    assert all(config[name] == value for name, value in options.items())


def test_accumulation_changes_nothing_but_rounding(train, base_without_dropout: Path, tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", base=base_without_dropout, global_batch_size=6)
    parts = train(tmp_path / "parts", base=base_without_dropout, global_batch_size=6, gradient_accumulation_steps=4)
    assert whole.losses.keys() == parts.losses.keys()
    assert all(abs(whole.losses[step] - parts.losses[step]) < 1e-5 for step in whole.losses)


def test_loader_threads_change_nothing(train, tmp_path: Path) -> None:
    for threads in (0, 3):
        train(tmp_path / str(threads), max_steps=4, dataloader_num_workers=threads, frame_cache_gb=threads)
    assert largest_difference(tmp_path / "0" / "checkpoint-4", tmp_path / "3" / "checkpoint-4") == 0


def test_a_run_in_two_parts_equals_one_in_one(train, tmp_path: Path) -> None:
    train(
        tmp_path / "whole",
        max_steps=7,
        logging_steps=3,
        save_steps=2,
        state_dropout_prob=0.3,
        color_jitter_params={"hue": 0.1},
    )
    same = {"logging_steps": 3, "save_steps": 2, "state_dropout_prob": 0.3, "color_jitter_params": {"hue": 0.1}}

    class Enough(Exception):
        pass

    class Until:
        """A lease that is lost at the commit of step 6, so that step 4 is the last complete checkpoint."""

        def __init__(self, folder: Path) -> None:
            self.folder = folder

        def check(self) -> None:
            if (self.folder / "checkpoint-4" / "manifest.json").exists():
                raise Enough

    with pytest.raises(Enough):
        train(tmp_path / "parts", max_steps=7, lease=Until(tmp_path / "parts"), **same)
    assert (
        sorted(path.name for path in (tmp_path / "parts").glob("checkpoint-*/manifest.json")) == ["manifest.json"] * 2
    )
    told = train(tmp_path / "parts", max_steps=7, **same)
    assert told.of("begin")[0]["step"] == 4
    one, other = tmp_path / "whole" / "checkpoint-7", tmp_path / "parts" / "checkpoint-7"
    assert largest_difference(one, other) == 0
    assert history(one) == history(other) and list(history(one)) == [3, 6, 7]


def test_more_steps_continue_in_a_new_phase(train, tmp_path: Path) -> None:
    train(tmp_path / "run", max_steps=4)
    told = train(tmp_path / "run", max_steps=8)
    assert told.of("begin")[0]["step"] == 4
    state = json.loads((tmp_path / "run" / "checkpoint-8" / "trainer_state.json").read_text())
    assert state["phases"] == [{"start": 0, "max_steps": 4}, {"start": 4, "max_steps": 8}]
    rates = [line["learning_rate"] for line in state["log_history"]]
    from groot_ray.train.order.phases import learning_rate

    assert rates == pytest.approx([learning_rate(s, 4 if s < 4 else 8, 0.05, 1e-3) for s in range(8)])
    with pytest.raises(ConfigurationError, match="reached step 8"):
        train(tmp_path / "run", max_steps=6)


def test_another_run_in_the_folder_is_rejected(train, tmp_path: Path) -> None:
    train(tmp_path / "run", max_steps=1)
    with pytest.raises(ConfigurationError, match="learning_rate 0.001, not 0.002"):
        train(tmp_path / "run", max_steps=2, learning_rate=2e-3)


def test_retention_keeps_the_newest_and_the_named(train, tmp_path: Path) -> None:
    train(tmp_path / "run", max_steps=7, save_steps=1, save_total_limit=2, keep_steps=[2, 3])
    run = RunFolder(open_location(tmp_path / "run"))
    assert [saved.step for saved in run.checkpoints()] == [2, 3, 6, 7]
    assert [(saved.folder / "optimizer.safetensors").exists() for saved in run.checkpoints()] == [
        False,
        False,
        True,
        True,
    ]
    assert run.newest().step == 7 and {path.name for path in (tmp_path / "run").glob("checkpoint-*")} == {
        f"checkpoint-{n}" for n in (2, 3, 6, 7)
    }


def test_recovery_checkpoints_hold_what_trains_and_end_with_the_run(train, tmp_path: Path) -> None:
    seen: dict[str, set[str]] = {}

    class Looking:
        def check(self) -> None:
            for path in (tmp_path / "run" / "recovery").glob("step-*"):
                seen[path.name] = files(path)

    told = train(tmp_path / "run", max_steps=12, recovery_interval=1e-6, save_steps=100, lease=Looking())
    kinds = [event["checkpoint"] for event in told.of("saved")]
    assert kinds[0] == "recovery" and kinds[-1] == "checkpoint" and kinds.count("checkpoint") == 1
    whole = [names for names in seen.values() if "manifest.json" in names]
    assert whole and all(names == RESUMED | {"trainable.safetensors", "manifest.json"} for names in whole)
    # The last checkpoint supersedes them.
    assert not list((tmp_path / "run" / "recovery").glob("*/manifest.json"))


def test_a_stop_request_saves_and_stops(train, make_plan, tmp_path: Path) -> None:
    from groot_ray.train import worker
    from groot_ray.train.step.collective import Alone

    run = RunFolder(open_location(tmp_path / "run"))
    plan = make_plan(tmp_path / "run", max_steps=100_000)
    lines: list[dict] = []

    def send(event: dict) -> None:
        lines.append(event)
        if event["kind"] == "line" and event["step"] == 2:
            run.request_stop()

    with pytest.raises(StoppedError, match="run the same command to continue"):
        worker.train_worker(plan, Alone(), worker.Host(NoLease(), send=send))
    last = [event for event in lines if event["kind"] == "saved"][-1]
    assert last["checkpoint"] == "checkpoint" and run.newest().step == last["step"] >= 2
    run.clear_stop()
    told = train(tmp_path / "run", max_steps=last["step"] + 1)
    assert told.of("begin")[0]["step"] == last["step"]


def test_leftovers_of_a_killed_save_are_removed(train, tmp_path: Path) -> None:
    train(tmp_path / "run", max_steps=2)
    for name in ("checkpoint-3", "recovery/step-9"):
        (tmp_path / "run" / name).mkdir(parents=True)
        (tmp_path / "run" / name / "optimizer.safetensors").write_bytes(b"half")
    told = train(tmp_path / "run", max_steps=3)
    assert told.of("begin")[0]["step"] == 2
    assert not (tmp_path / "run" / "recovery" / "step-9").exists()


def test_a_checkpoint_that_does_not_fit_on_the_disk(train, tmp_path: Path) -> None:
    """A one-sentence error, nothing half-written, and the same run continues once there is space."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # maximum file size in bytes; the weights are larger
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(ConfigurationError, match=r"checkpoint-1 cannot be written: .* choose another folder"):
            train(tmp_path / "run", max_steps=2, save_steps=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list((tmp_path / "run").glob("checkpoint-*"))
    train(tmp_path / "run", max_steps=2, save_steps=1)
    assert {path.name for path in (tmp_path / "run").glob("checkpoint-*")} == {"checkpoint-1", "checkpoint-2"}


def test_the_tail_may_be_masked(train, tmp_path: Path) -> None:
    from groot_ray.train.order.sampler import SampleOrder

    train(tmp_path / "run", max_steps=2, tail="mask")
    assert history(tmp_path / "run" / "checkpoint-2").keys() == {1, 2}
    assert SampleOrder([24, 20], 0).size == 44


def test_a_loss_that_is_not_finite_ends_the_run_before_it_is_saved(train, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lower learning_rate"):
        train(tmp_path / "run", max_steps=40, learning_rate=100, max_grad_norm=1e9)
    assert not list((tmp_path / "run").glob("checkpoint-*/manifest.json"))


def test_bf16_holds_what_is_frozen_in_bf16(train, tmp_path: Path) -> None:
    import torch

    train(tmp_path / "run", max_steps=2, precision="bf16")
    held = tensors(tmp_path / "run" / "checkpoint-2")
    assert held["backbone.model.mlp1.1.weight"].dtype == torch.bfloat16
    assert (
        held["action_head.vlln.weight"].dtype
        == held["backbone.model.language_model.model.layers.1.mlp.up_proj.weight"].dtype
        == torch.float32
    )


def test_statistics_that_are_missing_are_computed(train, train_set: Path, tmp_path: Path) -> None:
    import shutil

    bare = shutil.copytree(train_set, tmp_path / "bare")
    (bare / "meta" / "stats.json").unlink()
    (bare / "meta" / "relative_stats.json").unlink()
    train(tmp_path / "run", max_steps=1, dataset=bare)
    train(tmp_path / "other", max_steps=1)
    one, other = (
        json.loads((tmp_path / name / "checkpoint-1" / "statistics.json").read_text()) for name in ("run", "other")
    )
    assert one == other
    assert not (bare / "meta" / "stats.json").exists()
