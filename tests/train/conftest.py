"""A small dataset, a base checkpoint much smaller than the tiny size, and runs of one worker in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from training import BASE_CONFIG, Recorder

from groot_ray.embodiment import load_embodiment
from groot_ray.experiment.schema import ModelOptions, TrainingOptions
from groot_ray.storage import Location, open_location


@pytest.fixture(scope="session")
def train_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two episodes of 24 and 20 frames in GR00T's layout; with a horizon of 16 they have 9 and 5 samples."""
    from datasets import write_groot

    return write_groot(tmp_path_factory.mktemp("train") / "set", load_embodiment("aloha_gr1"), lengths=(24, 20))


def _write_base(folder: Path, dropout: float) -> Path:
    import torch

    from groot_ray.model.n1d6.config import Gr00tConfig
    from groot_ray.model.n1d6.network import Gr00tN1d6
    from groot_ray.model.n1d6.processor import Processor
    from groot_ray.model.shared.weights import save_network

    torch.manual_seed(0)
    config = Gr00tConfig.from_json(BASE_CONFIG)
    config.diffusion_model_cfg["dropout"] = dropout
    save_network(Gr00tN1d6(config), folder)
    sizes = {"max_state_dim": config.max_state_dim, "max_action_dim": config.max_action_dim}
    Processor.new("tiny", **sizes, max_action_horizon=config.action_horizon, shortest_image_edge=56).save(folder)
    return folder


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base checkpoint with dropout."""
    return _write_base(tmp_path_factory.mktemp("base") / "small", 0.1)


@pytest.fixture(scope="session")
def base_without_dropout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without dropout, to compare runs with different numbers of workers."""
    return _write_base(tmp_path_factory.mktemp("base") / "small", 0.0)


@pytest.fixture
def make_plan(train_set: Path, base: Path, tmp_path: Path) -> Callable[..., Any]:
    """``make_plan(output, base=..., max_steps=..., ...)``: a plan with options for a quick run."""

    def make(output: Path | Location, base: Path | None = base, dataset: Path = train_set, **training: Any) -> Any:
        from groot_ray.train.plan import FinetunePlan

        quick = {
            "global_batch_size": 4,
            "max_steps": 6,
            "learning_rate": 1e-3,
            "save_steps": 100,
            "logging_steps": 1,
            "recovery_interval": 0,
        }
        model = ModelOptions(base=None, size="tiny") if base is None else ModelOptions(base=str(base))
        return FinetunePlan(
            open_location(dataset),
            open_location(output),
            model,
            TrainingOptions(**{**quick, **training}),
            cache=str(tmp_path / "cache"),
        )

    return make


@pytest.fixture
def train(make_plan: Callable[..., Any]) -> Callable[..., Recorder]:
    """``train(output, **options)``: run a plan on one worker in this process; returns its events."""

    def run(output: Path | Location, lease: Any = None, **options: Any) -> Recorder:
        from groot_ray.train.step.collective import Alone
        from groot_ray.train.worker import train_worker

        recorder = Recorder()
        train_worker(make_plan(output, **options), Alone(), recorder.host(lease))
        return recorder

    return run
