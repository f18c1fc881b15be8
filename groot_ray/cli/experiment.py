"""`groot-ray experiment`: check, render and document experiment files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

File = Annotated[Path, typer.Argument(metavar="EXPERIMENT.yaml")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Check, render and document experiment files", no_args_is_help=True)
    group.command("check")(check)
    group.command("render")(render)
    group.command("schema")(schema)
    group.command("reference")(reference)
    app.add_typer(group, name="experiment")


def check(experiment: File) -> None:
    """Check a file: schema, embodiment, and its parts against each other. Reads neither data nor storage."""
    from groot_ray.embodiment import load_embodiment
    from groot_ray.errors import ConfigurationError
    from groot_ray.experiment.agreement import check_agreement, stages_to_run
    from groot_ray.experiment.document import load_document
    from groot_ray.experiment.memory import check_document_memory

    document = load_document(experiment)
    options = document.experiment
    robot = load_embodiment(options.embodiment, options.embodiment_tag)
    for doubt in check_agreement(options, robot, stages_to_run(document)):
        print(f"{experiment}: {doubt}")
    try:
        check_document_memory(document, len(robot.cameras))
    except ConfigurationError as error:
        if document.cluster is not None:
            raise
        print(f"{experiment}: {error}")  # it may be for another machine
    print(
        f"{experiment}: experiment {options.name!r}, embodiment {robot.name!r} ({robot.tag}), "
        f"state {robot.state_dim} dims, action {robot.action_dim} dims"
    )


def render(experiment: File) -> None:
    """Print the document with every default filled in and the embodiment inlined, as `helm install -f` takes it."""
    import yaml

    from groot_ray.experiment.render import rendered

    print(yaml.safe_dump(rendered(experiment), sort_keys=False, allow_unicode=True), end="")


def schema() -> None:
    """Print the JSON schema of the document."""
    import json

    from groot_ray.experiment.document import Document

    print(json.dumps(Document.model_json_schema(by_alias=True), indent=2))


def reference() -> None:
    """Print the reference of all keys as Markdown."""
    from groot_ray.experiment.reference import markdown

    print(markdown())
