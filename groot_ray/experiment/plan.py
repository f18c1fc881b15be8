"""What a run pins before it starts: fingerprints of the source's files, the episodes of each part, the base model.

A pin is written once, by the first stage that needs it, and read by later stages. A source that grows meanwhile, or a
branch of the hub that moves, changes nothing until it is pinned again. Stage keys are pure functions of the pins and
the document.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from groot_ray.experiment.keys import LENGTH, digest, stage_key
from groot_ray.experiment.schema import Experiment, result_options
from groot_ray.experiment.stages import CONVERT, DOWNLOAD, EVALUATE, FINETUNE


class Pin(BaseModel):
    """Base of pins: immutable; unknown keys of newer versions are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: int = 1


class SourcePin(Pin):
    """State of a source dataset when it was pinned.

    Attributes:
        content: sha256 over path, size and sha256 of each file that is read, or over the commit of a hub repository.
        listing: name of the parquet file beside the pin that lists those files; none for the hub.
        parts: source episode numbers of train, validation and test.
        unused: episode numbers in no part.
    """

    kind: Literal["files", "hub"]
    uri: str
    revision: str | None = None
    content: str
    listing: str | None = None
    version: str
    fps: float
    episodes: list[int] | None = None
    parts: dict[str, list[int]]
    unused: list[int] = []
    files: int = 0
    size: int = 0

    @property
    def key(self) -> str:
        """Key of the download stage. It hashes what is in the source, not where the source is."""
        return stage_key(DOWNLOAD, {}, {"content": self.content, "episodes": self.episodes})


class ModelPin(Pin):
    """State of a base model when it was pinned; `content` hashes its files or its commit, and is None for fresh
    weights.
    """

    base: str | None
    revision: str | None = None
    content: str | None


def source_request(experiment: Experiment) -> str:
    """Name of the pin of a document's source: a hash of the sections source and splits."""
    request = {"source": result_options(experiment.source), "splits": result_options(experiment.splits)}
    return digest(request)[:LENGTH]


def model_request(experiment: Experiment) -> str:
    """Name of the pin of a document's base model."""
    return digest({"base": experiment.model.base, "revision": experiment.model.revision})[:LENGTH]


def listing_digest(files: list[tuple[str, int, str]]) -> str:
    """`SourcePin.content` of (path, size, sha256) rows in any order."""
    return digest(sorted(list(row) for row in files))


def convert_key(experiment: Experiment, embodiment: dict[str, Any], download: str) -> str:
    """Key of the converted dataset; `embodiment` is the resolved description, `download` the input's folder name."""
    options = {
        "embodiment": embodiment,
        "conversion": result_options(experiment.conversion),
        "splits": result_options(experiment.splits),
    }
    return stage_key(CONVERT, {DOWNLOAD.name: download}, options)


def finetune_key(experiment: Experiment, model: ModelPin, convert: str, modality_config: str | None) -> str:
    """Key of a run: everything that changes its weights except `max_steps`, so that more steps continue it.

    Args:
        convert: folder name of the converted dataset.
        modality_config: sha256 of the modality configuration file, if one is given.
    """
    training = result_options(experiment.training)
    training.pop("max_steps")
    training["modality_config_path"] = modality_config
    options: dict[str, Any] = {
        "training": training,
        "tag": experiment.embodiment_tag,
        "tokenizer": experiment.model.tokenizer,
    }
    if model.content is None:
        options["fresh"] = {"size": experiment.model.size, "seed": experiment.model.seed}
    return stage_key(FINETUNE, {CONVERT.name: convert, "model": model.content}, options)


def evaluate_key(experiment: Experiment, convert: str, finetune: str, weights: dict[str, str]) -> str:
    """Key of an evaluation; `weights` are the hashes of the evaluated checkpoints' weights by step."""
    inputs = {CONVERT.name: convert, FINETUNE.name: finetune, "weights": weights}
    return stage_key(EVALUATE, inputs, {"evaluation": result_options(experiment.evaluation)})
