"""Processing and data against the reference's, quantity by quantity."""

from __future__ import annotations

from pathlib import Path

from groot_ray.model.family import ModelFamily
from groot_ray.parity.check import Check, guarded
from groot_ray.parity.dataset import compare_merged, compare_shards, compare_statistics, compare_stream
from groot_ray.parity.processing import compare_batch, compare_files, compare_prompt, compare_sample
from groot_ray.parity.recorded import PART, Recorded

_COMPARISONS = (
    ("prompt", compare_prompt),
    ("processor files", compare_files),
    ("sample", compare_sample),
    ("batch", compare_batch),
    ("statistics", compare_statistics),
    ("merged statistics", compare_merged),
    ("shards", compare_shards),
    ("samples of the stream", compare_stream),
)


def data_checks(fixtures: Path, tokenizer: Path | None, family: ModelFamily) -> list[Check]:
    """All checks for which the folder has recorded outputs."""
    recorded = Recorded(fixtures, tokenizer, family)
    checks: list[Check] = []
    for quantity, compare in _COMPARISONS:
        checks += guarded(PART, quantity, lambda compare=compare: compare(recorded))  # type: ignore[misc]
    return checks
