"""What a run is put together from: its plan, the parts on this machine, its identity, and the checkpoint that it goes on from."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from groot_ray.errors import ConfigurationError
from groot_ray.experiment.keys import digest
from groot_ray.experiment.schema import ModelOptions, TrainingOptions, result_options
from groot_ray.model.n1d6.network import Gr00tN1d6
from groot_ray.model.n1d6.processor import Processor
from groot_ray.model.shared.tags import tag_value
from groot_ray.model.shared.trainable import TuneFlags
from groot_ray.storage import Location, mirror
from groot_ray.train.checkpoints.checkpoint import read_training
from groot_ray.train.checkpoints.experiment_cfg import RunRecord
from groot_ray.train.checkpoints.run_folder import Saved
from groot_ray.train.checkpoints.saver import Lease
from groot_ray.train.modalities import choose_modality_configs, choose_statistics, choose_tag
from groot_ray.train.order.phases import Phase
from groot_ray.train.start import base_folder, starting_model, starting_processor, tokenizer_source
from groot_ray.train.step.collective import Collective
from groot_ray.train.step.device import Precision, training_precision
from groot_ray.train.step.frames import DatasetInMemory
from groot_ray.train.step.loop import LoopOptions, TrainState

FORMAT = 1
# Options that may change between two starts of one run: they cannot change a result, or are recorded otherwise.
_FREE = {"max_steps", "modality_config_path"}


@dataclass(frozen=True)
class FinetunePlan:
    """What a run is to do; goes to every worker.

    `lease` is checked before each commit; `modality_configs` replace the dataset's.
    """

    dataset: Location
    output: Location
    model: ModelOptions
    training: TrainingOptions
    tag: str | None
    modality_configs: dict[str, Any] | None
    cache: str
    lease: Lease

    @property
    def cache_folder(self) -> Path:
        """Folder of this machine for copies."""
        return Path(self.cache).expanduser()


@dataclass
class Parts:
    """What a worker has put together before it trains."""

    dataset: DatasetInMemory
    processor: Processor
    record: RunRecord
    model: Gr00tN1d6
    flags: TuneFlags
    precision: Precision
    notes: list[str] = field(default_factory=list)


def put_together(plan: FinetunePlan, device: torch.device) -> Parts:
    """Dataset, processor and model of a plan on this machine, checked against each other."""
    precision = training_precision(plan.training.precision, device)
    dataset = DatasetInMemory(mirror(plan.dataset, plan.cache_folder), int(plan.training.frame_cache_gb * 1e9))
    endpoint = plan.output.endpoint
    base = base_folder(plan.model, plan.cache_folder, endpoint)
    tokenizer = tokenizer_source(plan.model, plan.cache_folder, endpoint)
    processor = starting_processor(base, tokenizer, plan.model, plan.training)
    tag = choose_tag(plan.tag, dataset, processor)
    configs, origin = choose_modality_configs(plan.modality_configs, tag, dataset, processor)
    if plan.training.extra_augmentation_config and "mask" not in configs:
        raise ConfigurationError(
            f"extra_augmentation_config changes masked regions of pictures, but {origin} has no mask modality; leave the option out"
        )
    notes = [
        f"modality configuration: {origin}",
        processor.set_embodiment(tag, configs, choose_statistics(dataset, configs)),
    ]
    _ = processor.tokenizer  # read or fetched now, not in the first batch
    model, flags = starting_model(base, plan.model, plan.training, device, precision)
    record = RunRecord(plan.dataset.uri, plan.output.uri, tag, plan.model, plan.training, configs)
    return Parts(dataset, processor, record, model, flags, precision, notes)


def identity(parts: Parts, plan: FinetunePlan) -> dict[str, Any]:
    """What makes a run the run that it is: everything that its result follows from but the number of steps."""
    training = {name: value for name, value in result_options(plan.training).items() if name not in _FREE}
    value = tag_value(parts.record.tag, parts.processor.embodiment_ids)
    return {
        "format": FORMAT,
        "training": training,
        "model": result_options(plan.model),
        "embodiment_tag": parts.record.tag,
        "episodes": len(parts.dataset),
        "modality_configs": parts.processor.modality_configs[value],
        "statistics": digest(parts.processor.statistics[value]),
    }


def loop_options(training: TrainingOptions, phases: list[Phase]) -> LoopOptions:
    """The loop's share of the options."""
    return LoopOptions(
        seed=training.seed,
        global_batch_size=training.global_batch_size,
        phases=phases,
        learning_rate=training.learning_rate,
        warmup_ratio=training.warmup_ratio,
        max_grad_norm=training.max_grad_norm,
        logging_steps=training.logging_steps,
        save_steps=training.save_steps,
        keep_steps=frozenset(training.keep_steps),
    )


def resume(
    saved: Saved,
    model: Gr00tN1d6,
    optimizer: torch.optim.Optimizer,
    options: LoopOptions,
    cache: Path,
    collective: Collective,
) -> TrainState:
    """Put a checkpoint into the model and the optimizer, on every worker; a local copy of one in S3 is removed afterwards."""
    folder = mirror(saved.folder, cache)
    state = read_training(folder, model, optimizer, options)
    collective.decide(None)  # all workers have read
    if not saved.folder.is_local:
        shutil.rmtree(folder, ignore_errors=True)
    return state
