"""`groot-ray cluster`: releases on Kubernetes."""

from __future__ import annotations

from typing import Annotated, Optional

import typer


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Show a release on Kubernetes, with advice", no_args_is_help=True)
    group.command("status")(status)
    group.callback()(lambda: None)
    app.add_typer(group, name="cluster")


def status(
    release: Annotated[str, typer.Argument(help="Name of the Helm release")],
    namespace: Annotated[
        Optional[str], typer.Option("--namespace", "-n", help="Namespace; by default the context's")
    ] = None,
    context: Annotated[
        Optional[str], typer.Option("--kube-context", help="Context of the kubeconfig; by default the current one")
    ] = None,
) -> None:
    """Show each stage of a release: its Job, pods and progress, and advice for anything that is stuck."""
    from groot_ray.cluster.status.status import show

    print(show(release, namespace, context))
