"""`groot-ray validate`: check a GR00T dataset file by file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from groot_ray.errors import DataError
from groot_ray.experiment.schema import DEFAULT_CACHE


def register(app: typer.Typer) -> None:
    app.command("validate")(command)


def command(
    dataset: Annotated[str, typer.Argument(help="Dataset in GR00T's layout: folder or s3:// URI")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON")] = False,
    endpoint: Annotated[Optional[str], typer.Option(help="S3 endpoint")] = None,
    cache: Annotated[str, typer.Option(help="Folder on this machine for the copy of what lies in S3")] = DEFAULT_CACHE,
) -> None:
    """Check widths, lengths, videos, numbering, modality slices and statistics; every problem names its episode and column."""
    import json

    from groot_ray.dataset.checks.validate import validate_dataset
    from groot_ray.storage import mirror, open_location

    folder = mirror(open_location(dataset, endpoint), Path(cache))
    report = validate_dataset(folder, name=dataset)
    if as_json:
        print(json.dumps(report.to_json(), indent=2))
    else:
        print(report.text())
    if report.problems:
        raise DataError(f"{dataset} has {len(report.problems)} problem(s), listed above")
