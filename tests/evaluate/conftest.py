"""Real ALOHA episodes, converted once for the tests of this folder, and a run's checkpoints for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from groot_ray.convert.finish import finish
from groot_ray.convert.plan import ConversionRequest, make_plan
from groot_ray.convert.splits import Splits
from groot_ray.convert.task import Conversion, run_job
from groot_ray.dataset.groot.dataset import GrootDataset
from groot_ray.dataset.source.formats import open_source
from groot_ray.embodiment import load_embodiment
from groot_ray.embodiment.modality import modality_configs
from groot_ray.experiment.schema import ConversionOptions, ModelOptions, TrainingOptions
from groot_ray.model.n1d6.family import FAMILY
from groot_ray.model.n1d6.processor import Processor
from groot_ray.model.shared.weights import save_network
from groot_ray.storage import open_location
from groot_ray.train.checkpoints.experiment_cfg import RunRecord, write_experiment_cfg


class OurOwn:
    """The right to write of a test that nobody disputes."""

    def check(self) -> None:
        pass


@pytest.fixture(scope="session")
def converted_aloha(aloha_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``train`` (one episode) and ``test`` (two) of ALOHA in GR1's dimensions, 20 Hz, 160 frames each."""
    output = tmp_path_factory.mktemp("aloha_gr1")
    request = ConversionRequest(
        open_source(open_location(aloha_dataset)),
        load_embodiment("aloha_gr1"),
        ConversionOptions(),
        Splits((0,), (), (1, 2), (3,)),
        open_location(output),
    )
    work = Conversion(request, make_plan(request), OurOwn())
    finish(work, [run_job(work, job) for job in work.plan.jobs], map)
    return output


@pytest.fixture(scope="session")
def run_folder(converted_aloha: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with ``checkpoint-100`` and ``checkpoint-200`` of tiny models, recorded as finetuned from seed 0."""
    run = tmp_path_factory.mktemp("run")
    dataset = GrootDataset(converted_aloha / "train")
    assert dataset.embodiment is not None
    configs = modality_configs(dataset.embodiment)
    processor = Processor.new()
    processor.set_embodiment("GR1", configs, dataset.statistics(configs))
    record = RunRecord(
        str(converted_aloha / "train"),
        str(run),
        "GR1",
        ModelOptions(base=None, size="tiny"),
        TrainingOptions(),
        configs,
    )
    for step in (100, 200):
        folder = run / f"checkpoint-{step}"
        model = FAMILY.new_network("tiny", step)
        save_network(model, folder)
        processor.save(folder)
        write_experiment_cfg(folder, record, model.config, processor)
    return run
