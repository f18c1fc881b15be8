"""From a command's arguments to a checked document: an experiment file, flags, or both."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from groot_ray.experiment.document import Document, build_document, load_document

ExperimentFile = Annotated[
    Optional[Path],
    typer.Argument(metavar="[EXPERIMENT.yaml]", help="Experiment file; flags win over it", show_default=False),
]
Force = Annotated[bool, typer.Option("--force", help="Make the stage anew, beside what exists")]
Output = Annotated[
    Optional[str],
    typer.Option(
        "--output",
        "--output-dir",
        "--output-base",
        help="Plain folder or s3:// URI to write to, instead of the experiment's storage",
    ),
]


def document_from(path: Path | None, overrides: dict[str, Any], defaults: dict[str, Any] | None = None) -> Document:
    """Build the document of a command; without a file, `defaults` fill what the schema requires and the command does not need."""
    if path is not None:
        return load_document(path, overrides)
    return build_document({}, {**(defaults or {}), **overrides}, "the command line")
