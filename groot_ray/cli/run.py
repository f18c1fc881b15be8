"""`groot-ray run`: the stages of an experiment, one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from groot_ray.cli import sections
from groot_ray.cli.flags import GuideCommand, with_flags


def register(app: typer.Typer) -> None:
    app.command("run", cls=GuideCommand)(with_flags(command, sections.ALL))


def command(
    experiment: Annotated[Path, typer.Argument(metavar="EXPERIMENT.yaml", help="Experiment file; flags override it")],
    stage: Annotated[
        Optional[list[str]], typer.Option("--stage", help="Run this stage only (may be given several times)")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Make the stages again, beside the existing results")] = False,
    overrides: Optional[dict[str, Any]] = None,
) -> None:
    """Run the stages of an experiment, one after the other.

    A stage is skipped if storage has a manifest for the key of its inputs and options.
    """
    from groot_ray.experiment.document import load_document
    from groot_ray.stages import run_all, summary

    document = load_document(experiment, overrides)
    print(summary(run_all(document, only=stage or None, force=force)))
