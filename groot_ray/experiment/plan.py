"""What a run pins before it begins: the source's files with their fingerprints, the episode numbers of each part, the base model.

A pin is written once, by the first stage; later stages read it, so that a source that grows meanwhile (or a branch of the hub that
moves) changes nothing until it is pinned again. Stage keys are pure functions of the pins and the document.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from groot_ray.experiment.keys import LENGTH, digest, stage_key
from groot_ray.experiment.schema import Experiment, result_options


class Pin(BaseModel):
    """Base of pins: values that do not change, read leniently so that newer versions may add to them."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: int = 1


class SourcePin(Pin):
    """A source dataset as it was found.

    `content` is a sha256 over the files that matter (path, size, sha256 of each), or over repository and commit for the hub; `listing`
    names the parquet file beside the pin that lists them (none for the hub, where the commit says it). `parts` holds the source episode
    numbers of train, validation and test; `unused` those in no part.
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
        """Key of the download stage: what is in the source, wherever it lies."""
        return stage_key("download", {}, {"content": self.content, "episodes": self.episodes})


class ModelPin(Pin):
    """A base model as it was found: `content` tells its weights and files apart from all others; None means fresh weights."""

    base: str | None
    revision: str | None = None
    content: str | None


def source_request(experiment: Experiment) -> str:
    """Names the pin of a document's source: hashes what the document says of source and splits."""
    request = {"source": result_options(experiment.source), "splits": result_options(experiment.splits)}
    return digest(request)[:LENGTH]


def model_request(experiment: Experiment) -> str:
    """Names the pin of a document's base model."""
    return digest({"base": experiment.model.base, "revision": experiment.model.revision})[:LENGTH]


def listing_digest(files: list[tuple[str, int, str]]) -> str:
    """`SourcePin.content` of (path, size, sha256) rows, whatever their order."""
    return digest(sorted(list(row) for row in files))


def convert_key(experiment: Experiment, embodiment: dict[str, Any], download: str) -> str:
    """Key of the converted dataset; `embodiment` is the resolved description, `download` the input's folder name."""
    options = {
        "embodiment": embodiment,
        "conversion": result_options(experiment.conversion),
        "splits": result_options(experiment.splits),
    }
    return stage_key("convert", {"download": download}, options)


def finetune_key(experiment: Experiment, model: ModelPin, convert: str, modality_config: str | None) -> str:
    """Key of a run: all that changes its weights but `max_steps`, so that more steps continue it.

    Args:
        convert: folder name of the converted dataset.
        modality_config: sha256 of the modality configuration file, where one is given.
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
    return stage_key("finetune", {"convert": convert, "model": model.content}, options)


def evaluate_key(experiment: Experiment, convert: str, finetune: str, weights: dict[str, str]) -> str:
    """Key of an evaluation; `weights` are the hashes of the evaluated checkpoints' weights by step."""
    inputs = {"convert": convert, "finetune": finetune, "weights": weights}
    return stage_key("evaluate", inputs, {"evaluation": result_options(experiment.evaluation)})
