"""A model family that the package does not know trains, is evaluated and answers, by its registration alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from datasets import write_groot

from groot_ray.embodiment import load_embodiment
from groot_ray.errors import ConfigurationError
from groot_ray.experiment.schema import ModelOptions, TrainingOptions
from groot_ray.model import family as registry
from groot_ray.model.describe import describe
from groot_ray.model.shared.weights import save_network
from groot_ray.policy.load import load_policy
from groot_ray.storage import open_location
from groot_ray.train.plan import FinetunePlan
from groot_ray.train.step.collective import Alone
from groot_ray.train.worker import Host, train_worker

TOY = Path(__file__).resolve().parent / "toy"


class NoLease:
    """A lease that nobody contests."""

    def check(self) -> None:
        return None


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy family as another package would bring it: a module, and metadata with its entry point."""
    site = tmp_path_factory.mktemp("site")
    (site / "toy_family.py").write_text((TOY / "toy_family.py").read_text())
    info = site / "toy_family-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-family\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{registry.ENTRY_POINTS}]\ntoy = toy_family:FAMILY\n")
    return site


@pytest.fixture(scope="module")
def toy(installed: Path) -> Iterator[ModuleType]:
    """The family, which its entry point alone makes known."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(installed)
        patch.setattr(registry, "_registered", {})
        import toy_family

        yield toy_family


@pytest.fixture(scope="module")
def train_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_groot(tmp_path_factory.mktemp("toy") / "set", load_embodiment("aloha_gr1"), lengths=(24, 20))


@pytest.fixture(scope="module")
def base(toy: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base checkpoint of the family, with fresh weights."""
    folder = tmp_path_factory.mktemp("toy") / "base"
    network = toy.FAMILY.new_network("toy-small", 0)
    save_network(network, folder)
    toy.FAMILY.new_processor(network.config).save(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(toy: ModuleType, train_set: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two steps of the ordinary training worker leave."""
    run = tmp_path_factory.mktemp("toy") / "run"
    training = TrainingOptions(max_steps=2, global_batch_size=4, learning_rate=1e-2, logging_steps=1)
    plan = FinetunePlan(
        open_location(train_set),
        open_location(run),
        ModelOptions(base=str(base)),
        training,
        cache=str(tmp_path_factory.mktemp("cache")),
    )
    train_worker(plan, Alone(), Host(NoLease()))
    return run / "checkpoint-2"


def test_the_family_is_known_by_its_entry_point(toy: ModuleType, base: Path) -> None:
    assert registry.model_types() == ["Gr00tN1d6", "toy"]
    assert registry.family_of(base) is toy.FAMILY is registry.family_with_size("toy-small")
    with pytest.raises(ConfigurationError, match="'toi' is unknown .*did you mean 'toy'.*known are Gr00tN1d6, toy"):
        registry.family_of({"model_type": "toi"})
    with pytest.raises(ConfigurationError, match="already registered"):
        registry.register(type("Other", (), {"model_type": "Gr00tN1d6"})())


def test_two_steps_change_the_weights(toy: ModuleType, base: Path, checkpoint: Path) -> None:
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    assert [line["step"] for line in state["log_history"]] == [1, 2]
    before, after = (toy.FAMILY.load_network(folder) for folder in (base, checkpoint))
    assert not torch.equal(before.policy.weight, after.policy.weight)
    assert json.loads((checkpoint / "config.json").read_text())["model_type"] == "toy"
    assert "processor_config.json" not in {path.name for path in checkpoint.iterdir()}


def test_the_checkpoint_answers_an_observation(checkpoint: Path) -> None:
    policy = load_policy(checkpoint, device="cpu")
    assert policy.tag == "GR1" and policy.denoising_steps == 1
    rng = np.random.default_rng(0)
    widths = {key: len(entry["min"]) for key, entry in policy.processor.statistics["gr1"]["state"].items()}
    observation = {
        "video": {
            key: rng.integers(0, 256, (2, 1, 64, 64, 3), np.uint8) for key in policy.configs["video"].modality_keys
        },
        "state": {key: np.zeros((2, 1, widths[key]), np.float32) for key in policy.configs["state"].modality_keys},
        "language": {policy.configs["language"].modality_keys[0]: [["lift"], ["push"]]},
    }
    action, _ = policy.get_action(observation, seed=0)
    assert set(action) == set(policy.configs["action"].modality_keys)
    assert all(a.shape[:2] == (2, 16) and np.isfinite(a).all() for a in action.values())


def test_the_checkpoint_is_described(checkpoint: Path) -> None:
    text = describe(checkpoint)
    assert text.startswith("Toy checkpoint") and "state 40, action 36 dims at most, horizon 20" in text


def test_the_checkpoint_is_evaluated_by_the_command_line(
    installed: Path, checkpoint: Path, train_set: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "groot_ray.cli.main", "evaluate", "--checkpoint", str(checkpoint)]
    command += ["--dataset", str(train_set), "--output", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    paths = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert np.isfinite(metrics["average"]["all"]["mae"])
