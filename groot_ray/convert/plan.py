"""The plan of a conversion: the target of every source episode, fixed before the first is converted.

It is written create-only beside the result. A resuming run reads it, so numbers never change
during a conversion, even if the source has grown meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from groot_ray.convert.measure import Measure, measure_episode
from groot_ray.convert.splits import Splits
from groot_ray.dataset.groot import layout
from groot_ray.errors import ConfigurationError, DataError
from groot_ray.experiment.schema import ConversionOptions, result_options
from groot_ray.experiment.stages import PARTS

if TYPE_CHECKING:
    from groot_ray.dataset.source.recording import Recording
    from groot_ray.embodiment.schema import Embodiment
    from groot_ray.storage import Location

log = logging.getLogger(__name__)

FORMAT = 1
THREADS = 16


@dataclass(frozen=True)
class Job:
    """One episode to convert.

    Attributes:
        source_index: episode number in the source.
        part: train, validation or test.
        index: episode number in the part.
        rows: frames in the source.
        frames: frames after resampling.
        first: offset of its first frame: number of frames in the part's earlier episodes.
        tasks: its distinct instructions in order of appearance.
    """

    source_index: int
    part: str
    index: int
    rows: int
    frames: int
    first: int
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class ConversionPlan:
    """All jobs, ordered by part and number; `tasks` are the instructions of each part, ordered by number.

    `unused` are source episodes in no part, `bad` those that cannot be converted, with the reason;
    `made` is the request data that the plan depends on.
    """

    jobs: tuple[Job, ...]
    tasks: Mapping[str, tuple[str, ...]]
    unused: tuple[int, ...] = ()
    bad: Mapping[int, str] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)

    def task_numbers(self, part: str) -> dict[str, int]:
        """Number of each instruction of a part."""
        return {text: number for number, text in enumerate(self.tasks[part])}

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON data; `from_json` reads it back."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ConversionPlan:
        """Read `to_json` back."""
        jobs = tuple(Job(**{**job, "tasks": tuple(job["tasks"])}) for job in content["jobs"])
        tasks = {part: tuple(texts) for part, texts in content["tasks"].items()}
        bad = {int(index): reason for index, reason in content["bad"].items()}
        return cls(jobs, tasks, tuple(content["unused"]), bad, content["made"])


@dataclass(frozen=True)
class ConversionRequest:
    """Input of a plan: what to convert, how, and where to."""

    source: Recording
    embodiment: Embodiment
    options: ConversionOptions
    splits: Splits
    output: Location

    def made_from(self) -> dict[str, Any]:
        """What a plan depends on, as JSON data: the source's metadata of the chosen episodes, not its location."""
        parts = {part: list(getattr(self.splits, part)) for part in PARTS}
        described = self.source.described(index for episodes in parts.values() for index in episodes)
        return {
            "source": hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest(),
            "embodiment": self.embodiment.to_json(),
            "conversion": result_options(self.options),
            "splits": parts,
        }


def make_plan(request: ConversionRequest, measured: Callable[[], object] = lambda: None) -> ConversionPlan:
    """Measure all episodes and number them; calls `measured` once per episode.

    Raises `DataError` for the first episode that cannot be converted, unless the options skip such episodes, and
    if none is left to train on.
    """
    parts = request.splits.parts()
    measures, bad = _measure_all(request, [index for chosen in parts.values() for index in chosen], measured)
    jobs: list[Job] = []
    tasks: dict[str, tuple[str, ...]] = {}
    for part, chosen in parts.items():
        good = [index for index in chosen if index in measures]
        jobs += number_jobs(part, good, measures)
        tasks[part] = tuple(layout.task_numbers([measures[index].tasks for index in good]))
    if not any(job.part == "train" for job in jobs):
        raise DataError(
            f"no episode of {request.source.location.uri} is left to train on; "
            f"the first problem: {next(iter(bad.values()))}"
        )
    return ConversionPlan(tuple(jobs), tasks, request.splits.unused, bad, request.made_from())


def number_jobs(part: str, episodes: Iterable[int], measures: Mapping[int, Measure]) -> list[Job]:
    """Number the episodes of a part from 0, and their frames consecutively."""
    jobs: list[Job] = []
    first = 0
    for index, source_index in enumerate(episodes):
        measure = measures[source_index]
        jobs.append(Job(source_index, part, index, measure.rows, measure.length, first, measure.tasks))
        first += measure.length
    return jobs


def pin_plan(location: Location, plan: ConversionPlan) -> ConversionPlan:
    """Write the plan unless one exists; returns the stored plan."""
    if location.create_json(plan.to_json()):
        return plan
    return ConversionPlan.from_json(location.read_json())


def check_same(request: ConversionRequest, plan: ConversionPlan) -> None:
    """Raise `ConfigurationError` if the plan found in the output belongs to a different request."""
    made = request.made_from()
    changed = [name for name in made if plan.made.get(name) != made[name]]
    if changed:
        raise ConfigurationError(
            f"{request.output.uri} holds a conversion with another {' and '.join(changed)}; "
            "choose another folder, or convert again with --force"
        )


def _measure_all(
    request: ConversionRequest, episodes: list[int], measured: Callable[[], object]
) -> tuple[dict[int, Measure], dict[int, str]]:
    def measure(index: int) -> Measure | DataError:
        try:
            return measure_episode(request.source, index, request.embodiment, request.options)
        except DataError as error:
            return error

    measures: dict[int, Measure] = {}
    bad: dict[int, str] = {}
    with ThreadPoolExecutor(THREADS, "measure") as threads:
        for index, found in zip(episodes, threads.map(measure, episodes), strict=True):
            measured()
            if isinstance(found, Measure):
                measures[index] = found
                continue
            if not request.options.skip_bad:
                threads.shutdown(wait=False, cancel_futures=True)
                raise found
            log.warning("left out: %s", found)
            bad[index] = str(found)
    return measures, bad
