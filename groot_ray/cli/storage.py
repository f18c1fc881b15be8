"""`groot-ray ls|show|gc|export`: what lies in storage."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from groot_ray.experiment.schema import DEFAULT_STORAGE

Endpoint = Annotated[Optional[str], typer.Option(help="S3 endpoint")]
Storage = Annotated[
    str, typer.Option("--storage", help="Folder or s3://bucket/prefix that holds the experiments given by name")
]
Experiment = Annotated[
    str,
    typer.Argument(
        metavar="EXPERIMENT", help="Name of the experiment, its folder or s3:// URI in storage, or its experiment file"
    ),
]


def register(app: typer.Typer) -> None:
    app.command("ls")(ls)
    app.command("show")(show)
    app.command("gc")(gc)
    app.command("export")(export)


def ls(
    target: Annotated[
        Optional[str],
        typer.Argument(metavar="[STORAGE]", help="Folder or s3:// URI that holds experiments, or one experiment"),
    ] = None,
    storage: Storage = DEFAULT_STORAGE,
    endpoint: Endpoint = None,
) -> None:
    """List the experiments in storage with their sizes and last use."""
    from groot_ray.stages.address import find_folder
    from groot_ray.stages.catalog import experiments, experiments_table, is_experiment, summarize
    from groot_ray.storage import open_location

    folder = open_location(storage, endpoint) if target is None else find_folder(target, storage, endpoint)
    print(experiments_table([summarize(folder)] if is_experiment(folder) else experiments(folder)))


def show(experiment: Experiment, storage: Storage = DEFAULT_STORAGE, endpoint: Endpoint = None) -> None:
    """Show the stages of an experiment: keys, manifests, attempts, checkpoints, sizes."""
    from groot_ray.stages.address import find_experiment
    from groot_ray.stages.catalog import describe_experiment

    print(describe_experiment(find_experiment(experiment, storage, endpoint)))


def gc(
    target: Annotated[
        Optional[str],
        typer.Argument(
            metavar="[EXPERIMENT]", help="Experiment (name, folder, URI or file), or a whole storage (folder or URI)"
        ),
    ] = None,
    storage: Storage = DEFAULT_STORAGE,
    endpoint: Endpoint = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove them; without it only lists what would be removed")
    ] = False,
) -> None:
    """Remove what no manifest names: superseded generations, interrupted uploads. A dry run without --delete."""
    from groot_ray.stages.address import find_folder
    from groot_ray.stages.catalog import is_experiment
    from groot_ray.stages.garbage import collect_garbage
    from groot_ray.storage import open_location

    folder = open_location(storage, endpoint) if target is None else find_folder(target, storage, endpoint)
    if target is None or (not is_experiment(folder) and folder.has_files()):
        print(collect_garbage(folder, delete=delete))
    else:
        print(collect_garbage(folder.parent, folder.name, delete=delete))


def export(
    experiment: Experiment,
    what: Annotated[str, typer.Argument(help="train, validation or test (dataset), checkpoint-N, or evaluation")],
    to: Annotated[str, typer.Argument(help="Folder or s3:// URI that receives it")],
    storage: Storage = DEFAULT_STORAGE,
    endpoint: Endpoint = None,
) -> None:
    """Copy a finished dataset, checkpoint or evaluation to a plain folder."""
    from groot_ray.stages.address import find_experiment
    from groot_ray.stages.export import export as export_tree
    from groot_ray.storage import open_location

    print(export_tree(find_experiment(experiment, storage, endpoint), what, open_location(to)))
