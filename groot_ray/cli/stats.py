"""`groot-ray stats`: the statistics of a GR00T dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from groot_ray.errors import ConfigurationError


def register(app: typer.Typer) -> None:
    app.command("stats")(command)


def command(
    dataset: Annotated[Path, typer.Argument(help="Dataset in GR00T's layout")],
    embodiment: Annotated[
        Optional[str], typer.Option(help="Preset or YAML, where the dataset has no meta/embodiment.json")
    ] = None,
    modality_config_path: Annotated[
        Optional[Path], typer.Option("--modality-config-path", help="NVIDIA's modality configuration (python file)")
    ] = None,
    embodiment_tag: Annotated[
        Optional[str], typer.Option("--embodiment-tag", help="Tag whose built-in modality configuration is used")
    ] = None,
) -> None:
    """Compute meta/stats.json and meta/relative_stats.json, without decoding any video."""
    from groot_ray.statistics.files import compute_statistics

    configs = _modality_configs(dataset, embodiment, modality_config_path, embodiment_tag)
    for file in compute_statistics(dataset, configs):
        print(file.uri)


def _modality_configs(dataset: Path, embodiment: str | None, path: Path | None, tag: str | None) -> dict[str, Any]:
    """The configuration that says which action keys are relative and how far they reach."""
    if embodiment is not None:
        from groot_ray.embodiment import load_embodiment

        return load_embodiment(embodiment, tag).modality_configs()
    if path is not None:
        from groot_ray.embodiment.nvidia import read_modality_config

        return read_modality_config(path, tag)[1]
    from groot_ray.dataset.groot import GrootDataset

    converted = GrootDataset(dataset)
    if converted.embodiment is not None:
        return converted.embodiment.modality_configs()
    if tag is not None:
        from groot_ray.model.tags import default_modality_configs, resolve_tag, tag_value

        default = default_modality_configs(tag_value(resolve_tag(tag)))
        if default is not None:
            return default
    raise ConfigurationError(
        f"{dataset} does not say which robot it is of; give --embodiment, --modality-config-path, "
        "or --embodiment-tag with a tag that has a built-in configuration"
    )
