"""`groot-ray submit|status|logs|stop`: experiments on a Ray cluster elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from groot_ray.experiment.schema import DEFAULT_STORAGE

Target = Annotated[
    str,
    typer.Argument(
        metavar="EXPERIMENT", help="Name of the experiment, its folder or s3:// URI in storage, or its experiment file"
    ),
]
Stage = Annotated[Optional[str], typer.Option("--stage", help="This stage only")]
Endpoint = Annotated[Optional[str], typer.Option("--endpoint", help="S3 endpoint, if EXPERIMENT is a URI or a name")]
Storage = Annotated[
    str, typer.Option("--storage", help="Folder or s3://bucket/prefix that holds the experiments given by name")
]


def register(app: typer.Typer) -> None:
    for command in (submit, status, logs, stop):
        app.command(command.__name__)(command)


def submit(
    experiment: Annotated[Path, typer.Argument(metavar="EXPERIMENT.yaml", help="Experiment file")],
    address: Annotated[
        str, typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="Ray's dashboard, such as http://localhost:8265")
    ],
    stage: Annotated[
        Optional[list[str]], typer.Option("--stage", help="Run this stage only (may be given several times)")
    ] = None,
    env: Annotated[
        Optional[list[str]], typer.Option("--env", help="NAME or NAME=VALUE for the job's environment")
    ] = None,
    secrets: Annotated[
        bool,
        typer.Option(
            "--secrets", help="Also send secrets of this environment; Ray shows them to everyone who may see the job"
        ),
    ] = False,
    exclude: Annotated[
        Optional[list[str]], typer.Option("--exclude", help="Leave files of this pattern out of the working directory")
    ] = None,
    working_dir: Annotated[
        Optional[Path],
        typer.Option("--working-dir", help="Folder to send; by default the experiment file's"),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Follow the log until the end")] = True,
) -> None:
    """Send the working directory, the experiment and the environment to a Ray cluster, and follow it.

    Ray's token comes from RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token.
    """
    from groot_ray.cluster.submit.send import submit as send

    send(
        experiment,
        address,
        stages=stage or None,
        env=env or (),
        secrets=secrets,
        excludes=exclude or (),
        working_dir=working_dir,
        follow=follow,
    )


def status(experiment: Target, endpoint: Endpoint = None, storage: Storage = DEFAULT_STORAGE) -> None:
    """Show the progress of each stage and the state of the last submission."""
    from groot_ray.cluster.submit.status import status as state

    print(state(experiment, endpoint, storage))


def logs(
    experiment: Target,
    stage: Stage = None,
    attempt: Annotated[Optional[int], typer.Option(help="Number of the attempt; by default the newest")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more until the attempt ends")] = False,
    endpoint: Endpoint = None,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Show the logs of the stages from storage, also after their cluster is gone."""
    from groot_ray.cluster.submit.logs import logs as read

    for text in read(experiment, stage, attempt, follow, endpoint, storage):
        print(text, end="", flush=True)


def stop(
    experiment: Target,
    stage: Stage = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the checkpoint")] = 300.0,
    endpoint: Endpoint = None,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Let the running stage save a checkpoint, then stop it."""
    from groot_ray.cluster.submit.stop import stop as end

    print(end(experiment, stage, wait, endpoint, storage))
