"""The parts of a run on one machine, and the run's identity."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from groot_ray.errors import ConfigurationError
from groot_ray.experiment.keys import digest
from groot_ray.experiment.schema import result_options
from groot_ray.model.family import Processor
from groot_ray.model.shared.network import PolicyNetwork
from groot_ray.model.shared.tags import tag_value
from groot_ray.model.shared.tune import TuneFlags
from groot_ray.storage import mirror
from groot_ray.storage.inventory import expected_files
from groot_ray.train.checkpoints.experiment_cfg import RunRecord
from groot_ray.train.plan import FinetunePlan
from groot_ray.train.start.modalities import choose_modality_configs, choose_statistics, choose_tag
from groot_ray.train.start.model import base_folder, starting_network, starting_processor, tokenizer_source
from groot_ray.train.step.device import Precision, training_precision
from groot_ray.train.step.frames import DatasetInMemory

FORMAT = 1
# Options that may differ between starts of one run: they cannot change the result, or are recorded elsewhere.
_FREE = {"max_steps", "modality_config_path"}


@dataclass
class Parts:
    """Dataset, processor and network of a run on this machine; `notes` are lines for the log."""

    dataset: DatasetInMemory
    processor: Processor
    record: RunRecord
    network: PolicyNetwork
    flags: TuneFlags
    precision: Precision
    notes: list[str] = field(default_factory=list)


def put_together(plan: FinetunePlan, device: torch.device) -> Parts:
    """Load dataset, processor and network of a plan on this machine, and check that they fit each other.

    Raises:
        ConfigurationError, DataError: options, model and dataset do not fit each other.
    """
    precision = training_precision(plan.training.precision, device)
    folder = mirror(plan.dataset, plan.cache_folder, expected=expected_files(plan.dataset))
    dataset = DatasetInMemory(folder, int(plan.training.frame_cache_gb * 1e9))
    endpoint = plan.output.endpoint
    base = base_folder(plan.model, plan.cache_folder, endpoint, plan.base_files)
    tokenizer = tokenizer_source(plan.model, plan.cache_folder, endpoint)
    processor = starting_processor(base, tokenizer, plan.model, plan.training)
    tag = choose_tag(plan.tag, dataset, processor)
    configs, origin = choose_modality_configs(plan.modality_configs, tag, dataset, processor)
    if plan.training.extra_augmentation_config and "mask" not in configs:
        raise ConfigurationError(
            f"extra_augmentation_config changes masked regions of images, but {origin} has no mask modality; "
            "leave the option out"
        )
    notes = [
        f"modality configuration: {origin}",
        processor.set_embodiment(tag, configs, choose_statistics(dataset, configs)),
    ]
    processor.prepare()
    network, flags = starting_network(base, plan.model, plan.training, device, precision)
    record = RunRecord(plan.dataset.uri, plan.output.uri, tag, plan.model, plan.training, configs)
    return Parts(dataset, processor, record, network, flags, precision, notes)


def identity(parts: Parts, plan: FinetunePlan) -> dict[str, Any]:
    """What identifies a run: everything that determines its result, except the number of steps."""
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
