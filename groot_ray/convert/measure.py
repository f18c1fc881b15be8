"""Determines the converted length and tasks of an episode from its numeric columns alone.

This is done for all episodes before the first is converted. It fixes the numbering (episode, frame and task numbers),
so that each episode can be converted independently, anywhere and in any order, to the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from groot_ray.convert.resample import Sampling, sample
from groot_ray.errors import DataError
from groot_ray.experiment.schema import ConversionOptions

if TYPE_CHECKING:
    import numpy as np

    from groot_ray.dataset.source.recording import Recording
    from groot_ray.embodiment.schema import Embodiment


@dataclass(frozen=True)
class Measure:
    """`rows` source frames become `length` converted ones; `tasks`: distinct instructions in order of appearance."""

    rows: int
    length: int
    tasks: tuple[str, ...]


def measure_episode(source: Recording, index: int, embodiment: Embodiment, options: ConversionOptions) -> Measure:
    """Read the numeric columns of one source episode; raises `DataError` naming it if it cannot be converted."""
    tasks = episode_tasks(source, index, embodiment)
    sampling = episode_sampling(source, index, len(tasks), options)
    return Measure(len(tasks), len(sampling.indices), tuple(dict.fromkeys(tasks[i] for i in sampling.indices)))


def episode_tasks(source: Recording, index: int, embodiment: Embodiment) -> list[str]:
    """The instruction of each source frame."""
    return source.frame_tasks(index, embodiment.language.source or "task_index")


def episode_sampling(
    source: Recording, index: int, rows: int, options: ConversionOptions, timestamps: np.ndarray | None = None
) -> Sampling:
    """Which of the `rows` source frames are kept; reads `timestamps` (float [rows], seconds) if the rule needs them."""
    where = source.where(index)
    if source.fps < options.fps:
        raise DataError(
            f"{where}: recorded at {source.fps:g} frames per second, fewer than the target's {options.fps:g}; "
            "lower conversion.fps"
        )
    if options.resample == "timestamp" and timestamps is None:
        timestamps = source.read_columns(index, ["timestamp"])["timestamp"]
    try:
        sampling = sample(options.resample, rows, source.fps, options.fps, timestamps)
    except ValueError as error:
        raise DataError(f"{where}: column 'timestamp': {error}; repair or leave out the episode") from None
    if not len(sampling.indices):
        raise DataError(
            f"{where}: {rows} frames at {source.fps:g} hertz are too short for one frame at {options.fps:g} hertz"
        )
    return sampling
