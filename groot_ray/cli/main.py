"""Entry point of the console script `groot-ray`.

`COMMANDS` maps a command to its module and one line of help; those of the stages come from their declarations. Each
module has ``register(app)``, which adds the command to a Typer application. Only the called command's module is
imported, so that ``groot-ray --help`` answers at once.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from typing import Annotated

import typer

from groot_ray import __version__
from groot_ray.errors import GrootRayError, did_you_mean
from groot_ray.experiment.stages import PIPELINE, STAGE_NAMES

COMMANDS: dict[str, tuple[str, str, str]] = {
    # command: (module, one line of help, panel)
    "run": ("run", f"Run the stages of an experiment: {', '.join(STAGE_NAMES)}", "The pipeline"),
    **{stage.name: (stage.name, stage.help, "The pipeline") for stage in PIPELINE},
    "inspect": ("inspect", "Show what a source dataset holds and propose an embodiment", "Datasets"),
    "stats": ("stats", "Compute stats.json and relative_stats.json of a GR00T dataset", "Datasets"),
    "validate": ("validate", "Check a GR00T dataset file by file", "Datasets"),
    "model": ("model", "Fetch base models for clusters without a way to the hub; describe checkpoints", "Models"),
    "parity": ("parity", "Compare this implementation with outputs of the reference", "Models"),
    "experiment": ("experiment", "Check, render and document experiment files", "Experiments"),
    "ls": ("storage", "List experiments in storage with sizes and last use", "Experiments"),
    "show": ("storage", "Show what an experiment has made", "Experiments"),
    "gc": ("storage", "Remove what no manifest names; a dry run without --delete", "Experiments"),
    "export": ("storage", "Copy a finished dataset or checkpoint to a plain folder", "Experiments"),
    "submit": ("submit", "Send an experiment to a Ray cluster and follow it", "Clusters"),
    "status": ("submit", "Show the state of what was submitted", "Clusters"),
    "logs": ("submit", "Show the logs of a stage, also after its cluster is gone", "Clusters"),
    "stop": ("submit", "Save a checkpoint and stop what was submitted", "Clusters"),
    "job": ("job", "Run one stage as a Kubernetes Job does", "Clusters"),
    "cluster": ("cluster", "Show a release on Kubernetes, with advice", "Clusters"),
    "doctor": ("doctor", "Check an experiment, its storage and its cluster before anything is requested", "Clusters"),
}


def main(argv: list[str] | None = None) -> None:
    """Run `groot-ray`; errors that are meant for people become one line and their exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    called = next((word for word in arguments if not word.startswith("-")), None)
    if called is not None and called not in COMMANDS:
        print(
            f"groot-ray: there is no command {called!r}{did_you_mean(called, COMMANDS)}; see groot-ray --help",
            file=sys.stderr,
        )
        sys.exit(2)
    try:
        _application(called)(args=arguments, prog_name="groot-ray")
    except GrootRayError as error:
        print(f"groot-ray: {error}", file=sys.stderr)
        if os.environ.get("GROOT_RAY_TRACEBACK"):
            raise
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _application(called: str | None) -> typer.Typer:
    """The Typer application with the called command, or with the names of all when none is called."""
    app = typer.Typer(
        help="Finetune NVIDIA's GR00T on your own robot, at scale, with Ray on Kubernetes.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    if called is not None:
        importlib.import_module(f"groot_ray.cli.{COMMANDS[called][0]}").register(app)
        return app
    for name, (_, text, panel) in COMMANDS.items():
        app.command(name, help=text, rich_help_panel=panel)(_nothing)
    return app


def _nothing() -> None:
    """Placeholder of a command in the list of commands."""


def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit", is_eager=True)] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log warnings and errors only")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit
    configure_logging(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)


def configure_logging(level: int) -> None:
    """Log this package to standard error with the time; other libraries log warnings and errors only."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING, force=True)
    logging.getLogger("groot_ray").setLevel(level)


if __name__ == "__main__":
    main()
