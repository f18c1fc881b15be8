"""A document with everything filled in, so that it means the same wherever it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from groot_ray.experiment.document import Document, load_document


def rendered(path: Path) -> dict[str, Any]:
    """Read a file and return the whole document as plain data, the embodiment inlined and `cluster` as it stands."""
    return render_document(load_document(path))


def render_document(document: Document) -> dict[str, Any]:
    """Return the document as plain data with every default and with the embodiment's description in place of its name or path."""
    from groot_ray.embodiment import load_embodiment

    data = document.model_dump(mode="json", by_alias=True, exclude_none=False)
    experiment = document.experiment
    robot = load_embodiment(experiment.embodiment, experiment.embodiment_tag)
    data["experiment"]["embodiment"] = robot.model_dump(mode="json", exclude_defaults=True)
    return {key: value for key, value in data.items() if value is not None}
