"""Which embodiment tag, modality configuration and statistics a run trains with."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ray.errors import ConfigurationError, DataError, GrootRayError, ServiceUnavailableError
from groot_ray.model.shared.tags import NEW_EMBODIMENT, default_modality_configs, resolve_tag, tag_value
from groot_ray.storage import open_location

if TYPE_CHECKING:
    from groot_ray.dataset.groot.dataset import GrootDataset
    from groot_ray.experiment.schema import ModelOptions
    from groot_ray.model.n1d6.processor import Processor

log = logging.getLogger(__name__)

TAG_FILES = ("embodiment_id.json", "processor_config.json")


def known_tag(text: str, model: ModelOptions, endpoint: str | None) -> str:
    """The NAME of a tag that GR00T N1.6 or the base model knows; of the model only its small files are read.

    Raises:
        ConfigurationError: neither knows it, or the base model cannot be found.
        ServiceUnavailableError: GR00T does not know it, and where the base model lies does not answer.
    """
    try:
        return resolve_tag(text)
    except ConfigurationError as unknown:
        if model.base is None:
            raise
        try:
            own = base_tags(model.base, model.revision, endpoint)
        except ServiceUnavailableError as error:
            raise ServiceUnavailableError(f"{unknown}; whether {model.base} has it cannot be asked: {error}") from None
        except GrootRayError as error:
            log.debug("the base model's own tags are not known: %s", error)
            raise unknown from None
        return resolve_tag(text, own)


def base_tags(base: str, revision: str | None, endpoint: str | None) -> list[str]:
    """Values of the tags that a checkpoint (folder, URI or hub repository) has weights or a configuration for."""
    if base.startswith(("s3://", "file://")) or Path(base).expanduser().is_dir():
        folder = open_location(base if "://" in base else str(Path(base).expanduser()), endpoint)
    else:
        from groot_ray.model.hub import fetch_files

        folder = open_location(fetch_files(base, TAG_FILES, revision=revision, what="the base model"))
    try:
        numbers, config = ((folder / name).read_json() if (folder / name).exists() else {} for name in TAG_FILES)
        return [*numbers, *config.get("processor_kwargs", {}).get("modality_configs", {})]
    except (ValueError, TypeError, AttributeError):
        raise DataError(f"{base} is no GR00T checkpoint: {' or '.join(TAG_FILES)} cannot be read") from None


def choose_tag(given: str | None, dataset: GrootDataset, processor: Processor) -> str:
    """The NAME of the tag: the one given, else the one that the dataset was converted for.

    Raises:
        ConfigurationError: the tag is unknown, or there is none.
    """
    if given is not None:
        return resolve_tag(given, [*processor.modality_configs, *processor.embodiment_ids])
    if dataset.embodiment is not None:
        return resolve_tag(dataset.embodiment.tag, processor.embodiment_ids)
    raise ConfigurationError(
        f"{dataset.path} does not say which robot it is of; name its embodiment tag, {NEW_EMBODIMENT} for a robot of your own (--embodiment-tag)"
    )


def choose_modality_configs(
    given: Mapping[str, Any] | None, tag: str, dataset: GrootDataset, processor: Processor
) -> tuple[dict[str, Any], str]:
    """The modality configuration of a run, and where it is from.

    The user's own goes first, then the one that the dataset was converted with, the base checkpoint's, and GR00T's default for the tag.

    Raises:
        ConfigurationError: there is none.
    """
    if given is not None:
        return dict(given), "the given modality configuration"
    if dataset.embodiment is not None:
        return dataset.embodiment.modality_configs(), f"the dataset's embodiment {dataset.embodiment.name}"
    value = tag_value(tag, processor.embodiment_ids)
    if value in processor.modality_configs:
        return dict(processor.modality_configs[value]), f"the base checkpoint's configuration of {tag}"
    default = default_modality_configs(value) if value.upper() in _known() else None
    if default is not None:
        return default, f"GR00T N1.6's own configuration of {tag}"
    raise ConfigurationError(
        f"there is no modality configuration for tag {tag}: {dataset.path} has no meta/embodiment.json and the base model does not know the tag; "
        "give NVIDIA's modality configuration file (--modality-config-path), or convert the recordings with groot-ray convert"
    )


def _known() -> set[str]:
    from groot_ray.model.shared.tags import EMBODIMENT_TAGS

    return set(EMBODIMENT_TAGS)


def choose_statistics(dataset: GrootDataset, modality_configs: Mapping[str, Any]) -> dict[str, Any]:
    """Normalization statistics of the dataset: its files', or computed now where they are missing or were made for another horizon."""
    try:
        return dataset.statistics(modality_configs)
    except DataError as error:
        log.info("computing the statistics of %s (%s)", dataset.path, error)
    from groot_ray.statistics.files import dataset_statistics

    absolute, relative = dataset_statistics(open_location(dataset.path), modality_configs)
    # Statistics are cached properties: put in place, they are what `statistics` reads from.
    dataset.__dict__["stats"], dataset.__dict__["relative_stats"] = absolute, relative
    return dataset.statistics(modality_configs)
