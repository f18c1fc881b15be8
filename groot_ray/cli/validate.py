"""`groot-ray validate`: check a GR00T dataset file by file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from groot_ray.errors import DataError


def register(app: typer.Typer) -> None:
    app.command("validate")(command)


def command(
    dataset: Annotated[Path, typer.Argument(help="Dataset in GR00T's layout")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON")] = False,
) -> None:
    """Check widths, lengths, videos, numbering, modality slices and statistics; every problem names its episode and column."""
    import json

    from groot_ray.dataset.validate import validate_dataset

    report = validate_dataset(dataset)
    if as_json:
        print(json.dumps(report.to_json(), indent=2))
    else:
        print(report.text())
    if report.problems:
        raise DataError(f"{dataset} has {len(report.problems)} problem(s), listed above")
