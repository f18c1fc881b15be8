"""`groot-ray download`: fetch or pin the source dataset."""

from __future__ import annotations

from typing import Any, Optional

import typer

from groot_ray.cli import sections
from groot_ray.cli.documents import ExperimentFile, Force, Output, Repair, document_from, run_or_repair
from groot_ray.cli.flags import GuideCommand, with_flags
from groot_ray.experiment.stages import DOWNLOAD


def register(app: typer.Typer) -> None:
    app.command(DOWNLOAD.name, cls=GuideCommand)(with_flags(command, sections.of_stage(DOWNLOAD)))


def command(
    experiment: ExperimentFile = None,
    output: Output = None,
    force: Force = False,
    repair: Repair = False,
    overrides: Optional[dict[str, Any]] = None,
) -> None:
    """Fetch a hub dataset into storage, or pin a folder or bucket by the fingerprints of its files."""
    # The source alone matters here; an embodiment is asked for by the schema and enters the plan of `run` only.
    defaults = {"experiment.name": "dataset", "experiment.embodiment": "aloha"}
    document = document_from(experiment, overrides or {}, defaults)
    run_or_repair(document, DOWNLOAD.name, force=force, output=output, repair=repair)
