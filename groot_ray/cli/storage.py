"""`groot-ray ls|show|gc|export`: what lies in storage."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

Endpoint = Annotated[Optional[str], typer.Option(help="S3 endpoint")]
Root = Annotated[str, typer.Option("--storage", help="Folder or s3://bucket/prefix that holds the experiments")]
Name = Annotated[str, typer.Argument(help="Name of the experiment")]


def register(app: typer.Typer) -> None:
    app.command("ls")(ls)
    app.command("show")(show)
    app.command("gc")(gc)
    app.command("export")(export)


def ls(storage: Root = "./outputs", endpoint: Endpoint = None) -> None:
    """List the experiments in storage with their sizes and last use."""
    from groot_ray.storage import open_location
    from groot_ray.storage.catalog import experiments, experiments_table

    print(experiments_table(experiments(open_location(storage, endpoint))))


def show(name: Name, storage: Root = "./outputs", endpoint: Endpoint = None) -> None:
    """Show the stages of an experiment: keys, manifests, attempts, checkpoints, sizes."""
    from groot_ray.storage import open_location
    from groot_ray.storage.catalog import describe_experiment

    print(describe_experiment(open_location(storage, endpoint) / name))


def gc(
    name: Annotated[Optional[str], typer.Argument(help="Name of the experiment; all when not given")] = None,
    storage: Root = "./outputs",
    endpoint: Endpoint = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Really remove; without it only says what would be removed")
    ] = False,
) -> None:
    """Remove what no manifest names: superseded generations, left-over uploads. A dry run unless told."""
    from groot_ray.storage import open_location
    from groot_ray.storage.garbage import collect_garbage

    print(collect_garbage(open_location(storage, endpoint), name, delete=delete))


def export(
    name: Name,
    what: Annotated[str, typer.Argument(help="train, validation or test (dataset), checkpoint-N, or evaluation")],
    to: Annotated[str, typer.Argument(help="Folder or s3:// URI that receives it")],
    storage: Root = "./outputs",
    endpoint: Endpoint = None,
) -> None:
    """Copy a finished dataset, checkpoint or evaluation to a plain folder."""
    from groot_ray.storage import open_location
    from groot_ray.storage.catalog import export as export_tree

    print(export_tree(open_location(storage, endpoint) / name, what, open_location(to)))
