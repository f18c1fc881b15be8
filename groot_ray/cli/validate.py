"""`groot-ray validate`: check a GR00T dataset file by file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from groot_ray.errors import DataError
from groot_ray.experiment.schema import DEFAULT_CACHE, DEFAULT_STORAGE


def register(app: typer.Typer) -> None:
    app.command("validate")(command)


def command(
    dataset: Annotated[
        str,
        typer.Argument(
            help="Dataset in GR00T's layout (folder or s3:// URI), or an experiment (name, folder, URI or file) "
            "whose newest conversion is checked"
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, one for each dataset")] = False,
    storage: Annotated[
        str, typer.Option("--storage", help="Folder or s3://bucket/prefix that holds the experiments given by name")
    ] = DEFAULT_STORAGE,
    endpoint: Annotated[Optional[str], typer.Option(help="S3 endpoint")] = None,
    cache: Annotated[str, typer.Option(help="Folder on this machine for copies of datasets in S3")] = DEFAULT_CACHE,
) -> None:
    """Check files against recorded hashes, then widths, lengths, videos, numbering, modality slices and statistics.

    Hashes are compared where the dataset is a committed result. Problems name the file, or episode and column.
    """
    import json

    from groot_ray.dataset.checks.validate import validate_dataset
    from groot_ray.stages.address import find_datasets
    from groot_ray.storage import mirror
    from groot_ray.storage.inventory import expected_files
    from groot_ray.storage.verify import find_damages

    problems = damaged = 0
    found = find_datasets(dataset, storage, endpoint)
    for location in found:
        expected = expected_files(location)
        damages = [] if expected is None else find_damages(location, expected.files)
        if damages:  # a copy of damaged files says nothing about the rest
            assert expected is not None
            damaged += len(damages)
            lines = [f"{location.uri}/{damage}" for damage in damages]
            report_of_damage = {"dataset": location.uri, "damaged": lines, "advice": expected.advice}
            print(json.dumps(report_of_damage, indent=2) if as_json else "\n".join([*lines, expected.advice]))
            continue
        report = validate_dataset(mirror(location, Path(cache)), name=dataset if len(found) == 1 else location.uri)
        print(json.dumps(report.to_json(), indent=2) if as_json else report.text())
        problems += len(report.problems)
    if damaged:
        raise DataError(f"{dataset} has {damaged} damaged, missing or extra file(s), listed above")
    if problems:
        raise DataError(f"{dataset} has {problems} problem(s), listed above")
