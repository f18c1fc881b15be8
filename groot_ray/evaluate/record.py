"""What a checkpoint records of its run: the tag, the dataset, and the weights that finetuning started from."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ray.dataset.groot.layout import INFO, choose_part
from groot_ray.errors import ConfigurationError, DataError
from groot_ray.experiment.schema import ModelOptions
from groot_ray.storage import Location, NotFoundError, open_location
from groot_ray.storage.committed import ADVICE, own_files
from groot_ray.storage.manifest import MANIFEST

if TYPE_CHECKING:
    from groot_ray.model.shared.network import PolicyNetwork

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Before:
    """The weights before finetuning: a base checkpoint, or fresh ones of a size and seed where `base` is None."""

    base: str | None
    revision: str | None
    size: str
    seed: int
    state_dropout_prob: float

    def __str__(self) -> str:
        if self.base is not None:
            return self.base + (f" at {self.revision}" if self.revision else "")
        return f"fresh weights, size {self.size}, seed {self.seed}"


@dataclass(frozen=True)
class Record:
    """The content of ``experiment_cfg/conf.yaml``; all None where a checkpoint has none."""

    tag: str | None = None
    dataset: Location | None = None
    before: Before | None = None


def read_record(checkpoint: Location) -> Record:
    """Read a checkpoint's record of its run; a missing one, or another program's, gives an empty record.

    Raises:
        DataError: it differs from the checkpoint's manifest.
    """
    import yaml

    from groot_ray.train.checkpoints.experiment_cfg import CONF

    try:
        text = (checkpoint / CONF).read_bytes()
        listed = {file.path: file.sha256 for file in own_files(checkpoint) or ()}
        if listed.get(CONF, digest := hashlib.sha256(text).hexdigest()) != digest:
            raise DataError(f"{(checkpoint / CONF).uri} is damaged: its sha256 differs from {MANIFEST}; {ADVICE}")
        content = yaml.safe_load(text)
    except NotFoundError:
        return Record()
    except yaml.YAMLError as error:
        log.warning("%s cannot be read (%s)", (checkpoint / CONF).uri, error)
        return Record()
    conf: dict[str, Any] = content if isinstance(content, dict) else {}
    dataset = conf.get("dataset_path")
    before = None
    if "model_seed" in conf:
        before = Before(
            conf.get("base_model_path"),
            conf.get("base_model_revision"),
            str(conf.get("model_size")),
            int(conf["model_seed"]),
            float(conf.get("state_dropout_prob") or 0.0),
        )
    return Record(
        conf.get("embodiment_tag"),
        open_location(dataset, checkpoint.endpoint, checkpoint.region) if isinstance(dataset, str) else None,
        before,
    )


def part_to_evaluate(checkpoint: Location, record: Record, dataset: Location | None, split: str) -> Location:
    """The given dataset, or the part `split` of a conversion's folder; by default what the checkpoint's run recorded.

    Raises:
        ConfigurationError: there is no such dataset or part.
    """
    return recorded_part(checkpoint, record, split) if dataset is None else choose_part(dataset, split, "--split")


def recorded_part(checkpoint: Location, record: Record, split: str) -> Location:
    """The part of the run's conversion to evaluate: what it was trained on, or the part beside it.

    Raises:
        ConfigurationError: nothing is recorded, or there is no such part.
    """
    if record.dataset is None:
        raise ConfigurationError(f"{checkpoint.uri} does not record the dataset of its run; name one with --dataset")
    if split == "train":
        return choose_part(record.dataset, split)
    part = record.dataset.parent / split
    if not (part / INFO).exists():
        raise ConfigurationError(
            f"{checkpoint.uri} was trained on {record.dataset.uri}, beside which there is no {split} part; "
            "name a dataset with --dataset, or evaluate what it was trained on with --split train"
        )
    return part


def untrained_network(before: Before | None, cache: Path, endpoint: str | None, device: str | None) -> PolicyNetwork:
    """The weights before finetuning, for inference on a device; fresh ones are drawn on the CPU.

    Raises:
        ConfigurationError: they are not recorded, or the base checkpoint no longer exists.
    """
    from groot_ray.model.family import family_of, family_with_size
    from groot_ray.policy.load import inference_device, inference_dtypes
    from groot_ray.train.start.model import base_folder

    if before is None:
        raise ConfigurationError("the checkpoint does not record which weights its finetuning started from")
    if before.base is None:
        family = family_with_size(before.size)
        return family.new_network(before.size, before.seed, state_dropout_prob=before.state_dropout_prob)
    folder = base_folder(
        ModelOptions.model_validate({"base": before.base, "revision": before.revision}), cache, endpoint
    )
    assert folder is not None
    where = inference_device(device)
    return family_of(folder).load_network(folder, device=where, dtype_policy=inference_dtypes(where))
