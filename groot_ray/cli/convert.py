"""`groot-ray convert`: a LeRobot dataset to GR00T's layout."""

from __future__ import annotations

from typing import Any, Optional

import typer

from groot_ray.cli import sections
from groot_ray.cli.documents import ExperimentFile, Force, Output, Repair, document_from, run_or_repair
from groot_ray.cli.flags import GuideCommand, with_flags
from groot_ray.experiment.stages import CONVERT


def register(app: typer.Typer) -> None:
    app.command(CONVERT.name, cls=GuideCommand)(with_flags(command, sections.of_stage(CONVERT)))


def command(
    experiment: ExperimentFile = None,
    output: Output = None,
    force: Force = False,
    repair: Repair = False,
    overrides: Optional[dict[str, Any]] = None,
) -> None:
    """Convert recordings to GR00T's layout: resample, map dimensions, crop and resize, encode, compute statistics.

    With --output the parts (train, validation, test) are written there; else under the stage's key in the
    experiment's storage.
    """
    document = document_from(experiment, overrides or {}, {"experiment.name": "conversion"})
    run_or_repair(document, CONVERT.name, force=force, output=output, repair=repair)
