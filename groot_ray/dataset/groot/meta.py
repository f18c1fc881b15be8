"""Reads the metadata specific to GR00T's layout: modality.json, embodiment.json, statistics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ray.dataset import meta
from groot_ray.dataset.groot import layout
from groot_ray.dataset.groot.modality import Modality, parse_modality
from groot_ray.errors import ConfigurationError, DataError
from groot_ray.experiment.stages import PARTS
from groot_ray.storage import Location, NotFoundError

if TYPE_CHECKING:
    from groot_ray.embodiment.schema import Embodiment


def read_info(root: Path, dataset: Location) -> dict[str, Any]:
    """Read meta/info.json of `dataset`, a local folder that the user named `root`.

    Raises:
        DataError: the folder is not a dataset; if one of its parts is, the message names it.
    """
    if not root.is_dir():
        raise DataError(f"dataset folder {root} does not exist")
    try:
        return meta.read_info(dataset)
    except NotFoundError:
        part = next((p for p in PARTS if (dataset / p / layout.INFO).exists()), None)
        advice = f"name one of its parts, such as {root / part}" if part else "convert one with: groot-ray convert"
        raise DataError(f"{root} is not a dataset in GR00T's layout: {layout.INFO} is missing; {advice}") from None


def read_modality(dataset: Location) -> Modality:
    """Read meta/modality.json; raises `DataError` for a missing or broken file."""
    advice = "it maps modality keys to columns; convert the recordings with groot-ray convert, which writes it"
    file = dataset / layout.MODALITY
    return parse_modality(_read_json(file, advice), file.uri)


def read_embodiment(dataset: Location) -> Embodiment | None:
    """The description with which a dataset was converted; None if another program wrote it.

    Raises:
        DataError: the file exists but is not an embodiment description.
    """
    from groot_ray.embodiment.load import load_embodiment

    file = dataset / layout.EMBODIMENT
    if not file.exists():
        return None
    try:
        return load_embodiment(file.read_json())
    except ConfigurationError as error:
        raise DataError(f"{file.uri} is not an embodiment description: {error}") from None


def read_statistics(dataset: Location, name: str) -> dict[str, dict[str, Any]]:
    """Read meta/stats.json or meta/relative_stats.json; raises `DataError` naming the command that computes it."""
    content = _read_json(dataset / name, f"compute it with: groot-ray stats {dataset.uri}")
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        raise DataError(
            f"{dataset.uri}/{name} does not hold statistics; regenerate it with: groot-ray stats {dataset.uri}"
        )
    return content


def _read_json(file: Location, advice: str) -> Any:
    try:
        return file.read_json()
    except NotFoundError:
        raise DataError(f"{file.uri} is missing; {advice}") from None
