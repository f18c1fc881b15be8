"""The description of a finetuning run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groot_ray.experiment.schema import DEFAULT_CACHE, ModelOptions, TrainingOptions
from groot_ray.storage import Location
from groot_ray.storage.manifest import FileRecord


@dataclass(frozen=True)
class FinetunePlan:
    """A finetuning run to execute; created by the code that starts it and sent to every worker.

    Attributes:
        dataset: a conversion's folder, of which the train part is used, or any dataset in GR00T's layout.
        output: the run's folder; see `RunFolder`.
        tag: embodiment tag by name or value; None for the one that the dataset was converted for.
        modality_configs: replace the dataset's, as `training.modality_config_path` does.
        cache: folder on each machine for local copies of data in S3.
        base_files: the pinned content of a base model in a folder or in S3; empty if it was not pinned.
    """

    dataset: Location
    output: Location
    model: ModelOptions
    training: TrainingOptions
    tag: str | None = None
    modality_configs: Mapping[str, Any] | None = None
    cache: str = DEFAULT_CACHE
    base_files: Sequence[FileRecord] = ()

    @property
    def cache_folder(self) -> Path:
        """The cache as a path on this machine."""
        return Path(self.cache).expanduser()
