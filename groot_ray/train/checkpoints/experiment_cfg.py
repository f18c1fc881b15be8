"""``experiment_cfg/`` of a checkpoint: model, data and options of the run, under the names of NVIDIA's launcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ray.experiment.schema import ModelOptions, TrainingOptions
from groot_ray.model.shared.tags import tag_value
from groot_ray.train.checkpoints.checkpoint import write_json

if TYPE_CHECKING:
    from groot_ray.model.family import ModelConfig, Processor

FOLDER = "experiment_cfg"
CONF = f"{FOLDER}/conf.yaml"


@dataclass(frozen=True)
class RunRecord:
    """Origin of a run's data and weights, and its options."""

    dataset: str
    output: str
    tag: str
    model: ModelOptions
    training: TrainingOptions
    modality_configs: Mapping[str, Any]


def write_experiment_cfg(folder: Path, record: RunRecord, config: ModelConfig, processor: Processor) -> None:
    """Write the five files below `folder`; the YAML is plain, without Python objects."""
    import yaml

    training, model = record.training.model_dump(mode="json"), record.model.model_dump(mode="json")
    conf = {
        "dataset_path": record.dataset,
        "output_dir": record.output,
        "embodiment_tag": record.tag,
        "base_model_path": model["base"],
        "base_model_revision": model["revision"],
        "model_size": model["size"],
        "model_seed": model["seed"],
        "tokenizer": model["tokenizer"],
        **training,
    }
    value = tag_value(record.tag, processor.embodiment_ids)
    data = {
        "dataset_path": record.dataset,
        "embodiment_tag": value,
        "modality_configs": {value: dict(record.modality_configs)},
    }
    below = folder / FOLDER
    below.mkdir(parents=True, exist_ok=True)
    for name, content in (("conf", conf), ("config", {"model": model, "data": data, "training": training})):
        (below / f"{name}.yaml").write_text(
            yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
    write_json(below / "dataset_statistics.json", {value: processor.statistics[value]})
    write_json(below / "final_model_config.json", config.to_json())
    write_json(
        below / "final_processor_config.json", {**processor.settings, "modality_configs": processor.modality_configs}
    )
