"""Chooses the embodiment tag, modality configuration and statistics of a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ray.embodiment.modality import modality_configs
from groot_ray.errors import ConfigurationError, DataError, GrootRayError, ServiceUnavailableError
from groot_ray.model.family import family_named, known_tags
from groot_ray.model.shared.tags import NEW_EMBODIMENT, resolve_tag, tag_value
from groot_ray.statistics.files import dataset_statistics
from groot_ray.storage import open_location

if TYPE_CHECKING:
    from groot_ray.dataset.groot.dataset import GrootDataset
    from groot_ray.experiment.schema import ModelOptions
    from groot_ray.model.family import Processor

log = logging.getLogger(__name__)

TAG_FILES = ("embodiment_id.json", "processor_config.json")


def known_tag(text: str, model: ModelOptions, endpoint: str | None) -> str:
    """The NAME of a tag that a model family or the base model knows; reads only small files of the base model.

    Raises:
        ConfigurationError: neither knows it, or the base model cannot be found.
        ServiceUnavailableError: no family knows it, and the base model is unavailable.
    """
    try:
        return resolve_tag(text, known_tags())
    except ConfigurationError as unknown:
        if model.base is None:
            raise
        try:
            own = base_tags(model.base, model.revision, endpoint)
        except ServiceUnavailableError as error:
            raise ServiceUnavailableError(f"{unknown}; {model.base} may know it but is unavailable: {error}") from None
        except GrootRayError as error:
            log.debug("the base model's own tags are unknown: %s", error)
            raise unknown from None
        return resolve_tag(text, [*known_tags(), *own])


def base_tags(base: str, revision: str | None, endpoint: str | None) -> list[str]:
    """Values of the tags that a checkpoint (folder, URI or hub repository) has weights or a configuration for."""
    if base.startswith(("s3://", "file://")) or Path(base).expanduser().is_dir():
        folder = open_location(base if "://" in base else str(Path(base).expanduser()), endpoint)
    else:
        from groot_ray.hub import fetch_files

        folder = open_location(fetch_files(base, TAG_FILES, revision=revision, what="the base model"))
    try:
        numbers, config = ((folder / name).read_json() if (folder / name).exists() else {} for name in TAG_FILES)
        return [*numbers, *config.get("processor_kwargs", {}).get("modality_configs", {})]
    except (ValueError, TypeError, AttributeError):
        raise DataError(f"{base} is not a checkpoint: {' or '.join(TAG_FILES)} cannot be read") from None


def choose_tag(given: str | None, dataset: GrootDataset, processor: Processor) -> str:
    """The NAME of the tag: the given one, else the one for which the dataset was converted.

    Raises:
        ConfigurationError: the tag is unknown, or neither gives one.
    """
    if given is not None:
        return resolve_tag(given, [*processor.modality_configs, *processor.embodiment_ids])
    if dataset.embodiment is not None:
        return resolve_tag(dataset.embodiment.tag, processor.embodiment_ids)
    raise ConfigurationError(
        f"{dataset.path} does not say which robot recorded it; set --embodiment-tag to the robot's tag, "
        f"or to {NEW_EMBODIMENT} for your own robot"
    )


def choose_modality_configs(
    given: Mapping[str, Any] | None, tag: str, dataset: GrootDataset, processor: Processor
) -> tuple[dict[str, Any], str]:
    """The modality configuration of a run, and a description of its origin.

    The first of these that exists: the user's, the one of the dataset's conversion, the base checkpoint's, the
    model family's.

    Raises:
        ConfigurationError: there is none.
    """
    if given is not None:
        return dict(given), "the given modality configuration"
    if dataset.embodiment is not None:
        return modality_configs(dataset.embodiment), f"the dataset's embodiment {dataset.embodiment.name}"
    value = tag_value(tag, processor.embodiment_ids)
    if value in processor.modality_configs:
        return dict(processor.modality_configs[value]), f"the base checkpoint's configuration of {tag}"
    family = family_named(processor.model_type)
    default = family.default_modality_configs(value)
    if default is not None:
        return default, f"{family.title}'s own configuration of {tag}"
    raise ConfigurationError(
        f"there is no modality configuration for tag {tag}: {dataset.path} has no meta/embodiment.json and the base "
        "model does not know the tag; set --modality-config-path to NVIDIA's modality configuration file, or convert "
        "the recordings with groot-ray convert"
    )


def choose_statistics(dataset: GrootDataset, modality_configs: Mapping[str, Any]) -> dict[str, Any]:
    """Normalization statistics of the dataset: from its files, or computed if the files lack them for this horizon."""
    try:
        return dataset.statistics(modality_configs)
    except DataError as error:
        log.info("computing the statistics of %s (%s)", dataset.path, error)
    absolute, relative = dataset_statistics(open_location(dataset.path), modality_configs)
    return dataset.with_statistics(absolute, relative).statistics(modality_configs)
