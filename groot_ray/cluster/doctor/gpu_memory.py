"""The memory that training takes on a GPU, compared with what the cluster's GPUs have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from groot_ray.cluster.doctor.findings import Finding
from groot_ray.embodiment import load_embodiment
from groot_ray.experiment.document import Document
from groot_ray.model.family import default_family, family_with_size


def check_gpu_memory(document: Document, nodes: list[dict[str, Any]]) -> Iterator[Finding]:
    """Compare the memory that training takes with that of the GPUs, if the labels of the GPU driver give it."""
    needed = training_memory(document)
    sizes = [float(n["metadata"].get("labels", {}).get("nvidia.com/gpu.memory", 0)) / 1024 for n in nodes]
    known = [size for size in sizes if size]
    if needed is None or not known:
        return
    takes = f"training takes about {needed:.0f} GiB a GPU"
    if max(known) < needed:
        sentence = f"{takes} and the largest has {max(known):.0f}; lower global_batch_size or accumulate"
        yield Finding("problem", "GPU memory", sentence)
    else:
        yield Finding("ok", "GPU memory", f"{takes}, and the GPUs have up to {max(known):.0f}")


def training_memory(document: Document) -> float | None:
    """GiB that one training process takes on its GPU, from measured peaks; None if nothing was measured."""
    training, model = document.experiment.training, document.experiment.model
    family = default_family() if model.base is not None else family_with_size(model.size)
    peaks = family.training_peaks.get(model.size if model.base is None else family.sizes[0])
    if peaks is None or training.tune_llm or training.tune_visual:
        return None
    views = len(load_embodiment(document.experiment.embodiment, document.experiment.embodiment_tag).cameras)
    (small, low), (large, high) = peaks[min((n for n in peaks if n >= views), default=max(peaks))]
    samples = training.global_batch_size / max(1, training.workers[0]) / training.gradient_accumulation_steps
    return low + (high - low) * (samples - small) / (large - small)
