"""`groot-ray stats`: the statistics of a GR00T dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from groot_ray.errors import ConfigurationError

if TYPE_CHECKING:
    from groot_ray.storage import Location


def register(app: typer.Typer) -> None:
    app.command("stats")(command)


def command(
    dataset: Annotated[str, typer.Argument(help="Dataset in GR00T's layout: folder or s3:// URI")],
    embodiment: Annotated[
        Optional[str], typer.Option(help="Preset or YAML, where the dataset has no meta/embodiment.json")
    ] = None,
    modality_config_path: Annotated[
        Optional[Path], typer.Option("--modality-config-path", help="NVIDIA's modality configuration (python file)")
    ] = None,
    embodiment_tag: Annotated[
        Optional[str], typer.Option("--embodiment-tag", help="Tag whose built-in modality configuration is used")
    ] = None,
    endpoint: Annotated[Optional[str], typer.Option(help="S3 endpoint")] = None,
) -> None:
    """Compute meta/stats.json and meta/relative_stats.json, without decoding any video."""
    from groot_ray.statistics.files import compute_statistics
    from groot_ray.storage import check_storage, open_location

    location = open_location(dataset, endpoint)
    configs = _modality_configs(location, embodiment, modality_config_path, embodiment_tag)
    if not location.is_local:
        check_storage(location)
    for file in compute_statistics(location, configs):
        print(file.uri)


def _modality_configs(dataset: Location, embodiment: str | None, path: Path | None, tag: str | None) -> dict[str, Any]:
    """The configuration that says which action keys are relative and how far they reach."""
    from groot_ray.embodiment.modality import modality_configs

    if embodiment is not None:
        from groot_ray.embodiment import load_embodiment

        return modality_configs(load_embodiment(embodiment, tag))
    if path is not None:
        from groot_ray.embodiment.nvidia import read_modality_config

        return read_modality_config(path, tag)[1]
    from groot_ray.dataset.groot import layout
    from groot_ray.dataset.groot.meta import read_embodiment

    if not (dataset / layout.INFO).exists():
        raise ConfigurationError(f"{dataset.uri} is not a dataset in GR00T's layout: it has no {layout.INFO}")
    robot = read_embodiment(dataset)
    if robot is not None:
        return modality_configs(robot)
    if tag is not None:
        from groot_ray.model.family import default_modality_configs, known_tags
        from groot_ray.model.shared.tags import resolve_tag

        default = default_modality_configs(resolve_tag(tag, known_tags()))
        if default is not None:
            return default
    raise ConfigurationError(
        f"{dataset.uri} does not say which robot it is of; give --embodiment, --modality-config-path, "
        "or --embodiment-tag with a tag that has a built-in configuration"
    )
