"""`groot-ray doctor`: check an experiment, its storage and its cluster before anything is requested."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer


def register(app: typer.Typer) -> None:
    app.command("doctor")(command)


def command(
    experiment: Annotated[Path, typer.Argument(metavar="EXPERIMENT.yaml")],
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Also check the Kubernetes cluster of the current context")
    ] = False,
    context: Annotated[
        Optional[str], typer.Option("--kube-context", help="Also check the cluster of this context")
    ] = None,
    namespace: Annotated[Optional[str], typer.Option("--namespace", "-n", help="Namespace of the release")] = None,
) -> None:
    """Find what would go wrong: schema, dataset, dims, storage rights, KubeRay, nodes, GPUs, queue, images, Secrets.

    Storage rights are tried out. The exit code is 64 if there is a problem.
    """
    from groot_ray.cluster.doctor.checks import check
    from groot_ray.errors import ConfigurationError
    from groot_ray.experiment.document import load_document

    findings = check(load_document(experiment), context, namespace, cluster or namespace is not None)
    for finding in findings:
        print(finding)
    problems = [finding for finding in findings if finding.level == "problem"]
    if problems:
        raise ConfigurationError(f"{len(problems)} problem{'s' if len(problems) > 1 else ''} found in {experiment}")
