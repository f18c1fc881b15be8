"""Entry point of the console script `groot-ray`.

`COMMANDS` maps a command to its module and one line of help; those of the stages come from their declarations. Each
module has ``register(app)``, which adds the command to a Typer application. Only the called command's module is
imported, so that ``groot-ray --help`` answers at once.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from contextlib import suppress
from typing import Annotated

import typer

from groot_ray import __version__
from groot_ray.errors import GrootRayError, did_you_mean
from groot_ray.experiment.stages import PIPELINE, STAGE_NAMES
from groot_ray.system_errors import explain_system_error
from groot_ray.termination import EndedBySignal, end_process, signals_as_errors

BROKEN_PIPE = 141  # 128 + SIGPIPE

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
        with signals_as_errors(signal.SIGTERM, signal.SIGINT):
            _run(called, arguments)
    except EndedBySignal as end:
        print(f"groot-ray: {end}", file=sys.stderr)
        end_process(end.exit_code)
    except GrootRayError as error:
        print(f"groot-ray: {error}", file=sys.stderr)
        if os.environ.get("GROOT_RAY_TRACEBACK"):
            raise
        end_process(error.exit_code)
    except OSError as error:
        known = explain_system_error(error, None if error.filename else "standard output or a file")
        if known is None or os.environ.get("GROOT_RAY_TRACEBACK"):
            raise
        print(f"groot-ray: {known}", file=sys.stderr)
        _discard_output()
        end_process(known.exit_code)


def _run(called: str | None, arguments: list[str]) -> None:
    """Run the command and flush its output, so that a full disk behind standard output is noticed.

    If the reader of the output has gone, as in `groot-ray show | head`, exit as the shell reports a program that
    SIGPIPE ended: without a message.
    """
    try:
        try:
            _application(called)(args=arguments, prog_name="groot-ray")
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except SystemExit:
        if type(sys.stdout).__name__ == "PacifyFlushWrapper":  # the answer of typer and click to a broken pipe
            _discard_output()
            sys.exit(BROKEN_PIPE)
        raise
    except BrokenPipeError:
        _discard_output()
        sys.exit(BROKEN_PIPE)


def _discard_output() -> None:
    """Send what is still buffered for standard output nowhere, or Python complains about it when it exits."""
    if sys.stdout is not None:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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


def _print_version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, help="Print the version and exit", is_eager=True)
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log warnings and errors only")] = False,
) -> None:
    configure_logging(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)


def configure_logging(level: int) -> None:
    """Log this package to standard error with the time; other libraries log warnings and errors only."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING, force=True)
    logging.getLogger("groot_ray").setLevel(level)


if __name__ == "__main__":
    main()
