"""Which embodiment tag, modality configuration and statistics a run trains with."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.model.tags import NEW_EMBODIMENT, default_modality_configs, resolve_tag, tag_value

if TYPE_CHECKING:
    from groot_ray.dataset.groot import GrootDataset
    from groot_ray.model.processor import Processor

log = logging.getLogger(__name__)


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
    from groot_ray.model.tags import EMBODIMENT_TAGS

    return set(EMBODIMENT_TAGS)


def choose_statistics(dataset: GrootDataset, modality_configs: Mapping[str, Any]) -> dict[str, Any]:
    """Normalisation statistics of the dataset: its files', or computed now where they are missing or were made for another horizon."""
    try:
        return dataset.statistics(modality_configs)
    except DataError as error:
        log.info("computing the statistics of %s (%s)", dataset.path, error)
    from groot_ray.statistics.files import dataset_statistics
    from groot_ray.storage import open_location

    absolute, relative = dataset_statistics(open_location(dataset.path), modality_configs)
    # Statistics are cached properties: put in place, they are what `statistics` reads from.
    dataset.__dict__["stats"], dataset.__dict__["relative_stats"] = absolute, relative
    return dataset.statistics(modality_configs)
