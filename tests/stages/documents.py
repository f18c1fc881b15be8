"""Documents for the tests of the stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from groot_ray.experiment.document import Document, build_document


def document(source: str | Path, storage: str | Path, cache: Path, **overrides: Any) -> Document:
    """A small version of the demo; `overrides` are dotted names below `experiment`, with `__` for the dots."""
    data = {
        "experiment": {
            "name": "test",
            "storage": {"uri": str(storage), "cache": str(cache)},
            "source": {"uri": str(source)},
            "embodiment": "aloha_gr1",
            "conversion": {"resolution": 64, "workers": 1},
            "splits": {"train": 1, "test": 1},
            "model": {"base": None, "size": "tiny"},
            "training": {"max_steps": 2, "global_batch_size": 2, "save_steps": 1, "dataloader_num_workers": 0},
        }
    }
    return build_document(data, {f"experiment.{name.replace('__', '.')}": value for name, value in overrides.items()})
