"""`groot-ray parity`: compare this implementation with outputs of the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer


def register(app: typer.Typer) -> None:
    app.command("parity")(command)


def command(
    fixtures: Annotated[Path, typer.Argument(help="Folder of outputs of the reference implementation")],
    tokenizer: Annotated[
        Optional[Path], typer.Option(help="Folder with the real vocabulary, for prompt tokens")
    ] = None,
) -> None:
    """Print, for each quantity, the largest difference and the tolerance; exit non-zero if one is exceeded."""
    from groot_ray.parity import run
    from groot_ray.parity.report import failed, print_table

    checks = run(fixtures, tokenizer=tokenizer)
    print_table(checks)
    if failed(checks):
        raise typer.Exit(1)
