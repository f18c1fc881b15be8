"""From a command's arguments to a checked document: an experiment file, flags, or both."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from groot_ray.errors import ConfigurationError
from groot_ray.experiment.document import Document, build_document, load_document

ExperimentFile = Annotated[
    Optional[Path],
    typer.Argument(metavar="[EXPERIMENT.yaml]", help="Experiment file; flags override it", show_default=False),
]
Force = Annotated[bool, typer.Option("--force", help="Make the stage again, beside the existing result")]
Repair = Annotated[
    bool,
    typer.Option(
        "--repair", help="Rebuild damaged and missing files of the finished result from the source; remove extra files"
    ),
]
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
    """Build the document of a command. Without a file, `defaults` fill required keys that the command ignores."""
    if path is not None:
        return load_document(path, overrides)
    given = {**(defaults or {}), **overrides}
    advice = []
    if given.get("experiment.source.uri") is None:
        advice.append("--source (or --input-dir) with the folder, s3:// URI or hub repository of the recordings")
    if given.get("experiment.embodiment") is None:
        from groot_ray.embodiment.load import preset_names

        advice.append(
            f"--embodiment with a preset ({', '.join(preset_names())}) or the YAML description of your robot "
            "(groot-ray inspect --propose drafts one)"
        )
    if advice:
        raise ConfigurationError(f"without an experiment file, give {' and '.join(advice)}")
    return build_document({}, given, "the command line")


def run_or_repair(document: Document, stage: str, *, force: bool, output: str | None, repair: bool) -> None:
    """Run a stage, or with `repair` rebuild the damaged files of its result."""
    if not repair:
        from groot_ray.stages import run_stage

        run_stage(document, stage, force=force, output=output)
        return
    if force:
        raise ConfigurationError("--repair keeps a result and --force replaces it; give one of them")
    if output is not None:
        raise ConfigurationError(
            "a plain folder (--output) has no recorded hashes to repair by; write it again with --force, or leave "
            "--output out to repair the experiment's result"
        )
    from groot_ray.stages.repair import repair_stage

    repair_stage(document, stage)
