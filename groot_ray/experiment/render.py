"""Renders a document with all defaults filled in, so that it means the same on every machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from groot_ray.experiment.document import Document, load_document


def rendered(path: Path) -> dict[str, Any]:
    """Read a file and return its document as plain data; see `render_document`."""
    return render_document(load_document(path))


def render_document(document: Document) -> dict[str, Any]:
    """Return the document as plain data, with every default and the embodiment's description inlined."""
    from groot_ray.embodiment import load_embodiment

    data = document.model_dump(mode="json", by_alias=True, exclude_none=False)
    experiment = document.experiment
    robot = load_embodiment(experiment.embodiment, experiment.embodiment_tag)
    data["experiment"]["embodiment"] = robot.model_dump(mode="json", exclude_defaults=True)
    return {key: value for key, value in data.items() if value is not None}
