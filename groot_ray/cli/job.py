"""`groot-ray job`: one stage as its Kubernetes Job runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from groot_ray.experiment.stages import STAGE_NAMES


def register(app: typer.Typer) -> None:
    app.command("job")(command)


def command(
    stage: Annotated[str, typer.Argument(help=f"Name of the stage: {', '.join(STAGE_NAMES)}")],
    document: Annotated[Path, typer.Option(help="The experiment document as JSON")] = Path(
        "/etc/groot-ray/release/document.json"
    ),
    settings: Annotated[Path, typer.Option(help="The stage's settings as JSON", show_default=False)] = Path(),
    digest: Annotated[str, typer.Option(help="Version of the release that this Job belongs to")] = "",
) -> None:
    """Wait for the stage before, start the Ray cluster, run the stage on it and give the cluster back.

    If it is killed and started again, it finds the running attempt and follows it.
    """
    from groot_ray.cluster.job.main import main

    main(stage, document, settings if settings != Path() else document.parent / f"stage-{stage}.json", digest)
