"""`groot-ray model`: base models and checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Fetch base models for clusters without a way to the hub; describe checkpoints", no_args_is_help=True
    )
    group.command("fetch")(fetch)
    group.command("show")(show)
    app.add_typer(group, name="model")


def fetch(
    to: Annotated[str, typer.Option("--to", help="Folder or s3:// URI that receives weights and tokenizer")],
    model: Annotated[str, typer.Option("--model", help="Hub repository, folder or URI")] = "nvidia/GR00T-N1.6-3B",
    revision: Annotated[Optional[str], typer.Option(help="Branch, tag or commit of a hub repository")] = None,
    tokenizer: Annotated[
        Optional[str], typer.Option(help="Hub repository, folder or URI of the Qwen3 vocabulary")
    ] = None,
    endpoint: Annotated[Optional[str], typer.Option(help="S3 endpoint of the target")] = None,
) -> None:
    """Bring a base model's weights and its tokenizer to storage, for clusters without a way to the hub."""
    import tempfile

    from groot_ray.model.fetch import fetch_model
    from groot_ray.storage import check_storage, open_location, upload_tree

    target = open_location(to, endpoint)
    check_storage(target)
    with tempfile.TemporaryDirectory(prefix="groot_ray-model-") as scratch:
        folder = Path(scratch, "model")
        copies = Path(scratch, "copies")
        source = _without_uri(model, copies)
        vocabulary = None if tokenizer is None else _without_uri(tokenizer, copies)
        fetch_model(source, folder, revision=revision, tokenizer=vocabulary)
        upload_tree(folder, target)
    print(target.uri)


def show(
    checkpoint: Annotated[str, typer.Argument(help="Checkpoint folder or URI")],
    endpoint: Annotated[Optional[str], typer.Option(help="S3 endpoint")] = None,
) -> None:
    """Describe a checkpoint: size, embodiment tags with their dims, what trains by default."""
    import tempfile

    from groot_ray.model.describe import describe
    from groot_ray.policy.load import ONLY_FOR_RESUME
    from groot_ray.storage import open_location
    from groot_ray.storage.committed import checked_mirror

    with tempfile.TemporaryDirectory(prefix="groot_ray-model-") as folder:
        print(describe(checked_mirror(open_location(checkpoint, endpoint), Path(folder), ONLY_FOR_RESUME)))


def _without_uri(spec: str, copies: Path) -> str:
    """A hub repository or folder as it is; a local copy of what an s3:// or file:// URI names."""
    if "://" not in spec:
        return spec
    from groot_ray.storage import mirror, open_location

    return str(mirror(open_location(spec), copies))
