"""The least main memory that finetuning needs, from its options alone, and whether a machine or a pod has it.

It counts what is certain: the micro-batches that loaders prepare, and fresh weights, which are drawn on the CPU. A run
needs more than this, so only a run that cannot fit is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from groot_ray.errors import ConfigurationError
from groot_ray.experiment.cluster import quantity
from groot_ray.machine_memory import memory_limit
from groot_ray.model.family import family_with_size

if TYPE_CHECKING:
    from groot_ray.experiment.document import Document
    from groot_ray.experiment.schema import ModelOptions, TrainingOptions

EDGE = 256  # pixels of an image as the model sees it
IMAGE_BYTES = EDGE * EDGE * 3 * 4  # float32 RGB


def batch_bytes(training: TrainingOptions, views: int, workers: int) -> int:
    """Bytes of the images of the micro-batches that one of `workers` training processes holds at the same time."""
    accumulation = training.gradient_accumulation_steps
    pieces = max(1, workers) * accumulation
    per_micro_batch = -(-training.global_batch_size // pieces)
    threads = training.dataloader_num_workers
    held = accumulation + 2 * threads
    held = min(held, accumulation * training.max_steps)
    return per_micro_batch * held * views * IMAGE_BYTES


def model_bytes(model: ModelOptions) -> int:
    """Bytes of fresh float32 weights; 0 for a base checkpoint, which is read tensor by tensor."""
    return 0 if model.base is not None else 4 * family_with_size(model.size).parameters.get(model.size, 0)


def check_memory(
    model: ModelOptions, training: TrainingOptions, views: int, here: int, limit: float, where: str
) -> None:
    """Check that `here` training processes fit into `limit` bytes of memory of `where`.

    Args:
        views: cameras of a sample.

    Raises:
        ConfigurationError: they cannot; the message has both numbers.
    """
    batches = here * batch_bytes(training, views, max(here, training.workers[0]))
    weights = here * model_bytes(model)
    if batches + weights <= limit:
        return
    parts = [f"{_size(batches)} for batches"] if batches else []
    parts += [f"{_size(weights)} for weights"] if weights else []
    advice = "lower training.global_batch_size or training.dataloader_num_workers" if batches > weights else (
        "choose a smaller model.size or a machine with more memory"
    )  # fmt: skip
    raise ConfigurationError(
        f"training needs at least {_size(batches + weights)} of memory ({', '.join(parts)}) on {where}, which has "
        f"{_size(limit)}; {advice}"
    )


def check_document_memory(document: Document, views: int) -> None:
    """Check the memory of the pods that a document asks for; of this machine where it asks for none.

    Raises:
        ConfigurationError: training cannot fit.
    """
    experiment, cluster = document.experiment, document.cluster
    training = experiment.training
    if cluster is None:
        here = max(1, training.workers[0])
        check_memory(experiment.model, training, views, here, memory_limit(), "this machine")
    elif cluster.ray.mode != "external":
        group = "cpu" if training.use_gpu is False else "gpu"
        pod = getattr(cluster.ray, group)
        here = min(max(1, pod.gpus), max(1, training.workers[0])) if group == "gpu" else 1
        where = f"a pod of cluster.ray.{group}"
        check_memory(experiment.model, training, views, here, quantity(pod.memory), where)


def _size(count: float) -> str:
    return f"{count / 2**30:,.1f} GiB"
