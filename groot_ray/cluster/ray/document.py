"""An experiment document on its way to a Ray cluster: a check of its training, and an environment variable."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable

from groot_ray.errors import ConfigurationError
from groot_ray.experiment.document import Document, build_document
from groot_ray.experiment.stages import FINETUNE

DOCUMENT = "GROOT_RAY_DOCUMENT"


def document_variable(text: str) -> str:
    """A document's JSON as the value of an environment variable: without dollar signs, which some Ray versions expand.

    Everything depends on the document, stage keys included, so the value is safe whatever an external Ray expands.
    """
    return text.replace("$", "\\u0024")


def document_from_environment() -> Document:
    """The document that was submitted; raises ConfigurationError if there is none."""
    text = os.environ.get(DOCUMENT)
    if not text:
        raise ConfigurationError(f"{DOCUMENT} is not set; `groot-ray job` and `groot-ray submit` start this module")
    return build_document(json.loads(text), None, "the submitted document")


def check_workers(document: Document, stages: Iterable[str] | None = None) -> None:
    """Check that the training of a document can run on a Ray cluster elsewhere.

    Args:
        stages: names of the stages that will run; default all.

    Raises:
        ConfigurationError: it trains inside the command's own process.
    """
    if document.experiment.training.workers[1] == 0 and (stages is None or FINETUNE.name in stages):
        raise ConfigurationError(
            "training.num_workers: 0 trains inside the command's own process, without Ray pods; "
            "give 1 or more, or use groot-ray run"
        )
