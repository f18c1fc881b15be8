"""`groot-ray inspect`: what a source dataset holds."""

from __future__ import annotations

from typing import Annotated, Optional

import typer


def register(app: typer.Typer) -> None:
    app.command("inspect")(command)


def command(
    source: Annotated[str, typer.Argument(help="LeRobot dataset: folder or s3:// URI")],
    endpoint: Annotated[Optional[str], typer.Option(help="S3 endpoint")] = None,
    propose: Annotated[bool, typer.Option("--propose", help="Print an embodiment description to start from")] = False,
) -> None:
    """Show what a source dataset holds: version, episodes, features, cameras, tasks; propose an embodiment."""
    from groot_ray.dataset.inspect import summary
    from groot_ray.dataset.source.formats import open_source
    from groot_ray.storage import open_location

    dataset = open_source(open_location(source, endpoint))
    if propose:
        from groot_ray.embodiment.detect import propose_embodiment
        from groot_ray.embodiment.load import to_yaml

        print(to_yaml(propose_embodiment(dataset)))
        return
    print(summary(dataset))
