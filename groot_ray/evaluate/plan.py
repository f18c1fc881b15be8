"""The plan of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from groot_ray.experiment.schema import DEFAULT_CACHE, EvaluationOptions
from groot_ray.storage import Location


@dataclass(frozen=True)
class EvaluationPlan:
    """The inputs, output and options of an evaluation, made by whoever starts it.

    Attributes:
        checkpoints: folders of checkpoints, or of runs with ``checkpoint-<step>`` folders, from which
            `options.checkpoints` chooses.
        dataset: a dataset in GR00T's layout, or a conversion's folder, of which `options.split` is taken; None for the
            one that the first checkpoint records.
        output: folder of the results.
        tag: embodiment tag; None for the one that the checkpoint records, else its only one.
        tokenizer: fallback for checkpoints without one (NVIDIA's): hub repository, folder or URI.
        cache: folder on each machine for copies of S3 objects.
        device: where models run; None for a GPU if there is one.
    """

    checkpoints: Sequence[Location]
    dataset: Location | None
    output: Location
    options: EvaluationOptions
    tag: str | None = None
    tokenizer: str | None = None
    cache: str = DEFAULT_CACHE
    device: str | None = None
