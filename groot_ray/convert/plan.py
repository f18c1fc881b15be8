"""The plan of a conversion: what becomes of every source episode, fixed before the first is converted.

It is written create-only beside the result. A run that goes on after a crash reads it, so numbers never change half-way, even when the
source has grown meanwhile.
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
from groot_ray.convert.splits import PARTS, Splits
from groot_ray.dataset.groot import layout
from groot_ray.errors import ConfigurationError, DataError
from groot_ray.experiment.schema import ConversionOptions, result_options

if TYPE_CHECKING:
    from groot_ray.dataset.source.lerobot_v2 import SourceDataset
    from groot_ray.embodiment.schema import Embodiment
    from groot_ray.storage import Location

log = logging.getLogger(__name__)

FORMAT = 1
THREADS = 16


@dataclass(frozen=True)
class Job:
    """One episode to convert: from where, to which part under which number, with how many frames, after how many others."""

    source_index: int
    part: str
    index: int
    rows: int
    frames: int
    first: int
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class ConversionPlan:
    """All jobs in order of parts and numbers; `tasks` are the instructions of each part in order of their numbers.

    `unused` are source episodes in no part, `bad` those left out because they cannot be converted, with the reason; `made` is what the
    plan was made from.
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


def made_from(
    source: SourceDataset, embodiment: Embodiment, options: ConversionOptions, splits: Splits
) -> dict[str, Any]:
    """What a plan depends on, as JSON data. The source counts by what it says of the chosen episodes, not by where it is."""
    chosen = [asdict(source.episode(index)) for part in PARTS for index in getattr(splits, part)]
    told = json.dumps({"fps": source.fps, "features": source.features, "episodes": chosen}, sort_keys=True)
    return {
        "source": hashlib.sha256(told.encode()).hexdigest(),
        "embodiment": embodiment.to_json(),
        "conversion": result_options(options),
        "splits": {part: list(getattr(splits, part)) for part in PARTS},
    }


def make_plan(
    source: SourceDataset,
    embodiment: Embodiment,
    options: ConversionOptions,
    splits: Splits,
    measured: Callable[[], object] = lambda: None,
) -> ConversionPlan:
    """Measure all episodes and number them; `measured` is called once for each.

    Raises `DataError` for the first episode that cannot be converted, unless the options say to leave such out, and when none is left
    to train on.
    """
    episodes = [index for chosen in splits.parts().values() for index in chosen]
    measures, bad = _measure_all(source, embodiment, options, episodes, measured)
    jobs: list[Job] = []
    tasks: dict[str, tuple[str, ...]] = {}
    for part, chosen in splits.parts().items():
        good = [index for index in chosen if index in measures]
        jobs += number_jobs(part, good, measures)
        tasks[part] = tuple(layout.task_numbers([measures[index].tasks for index in good]))
    if not any(job.part == "train" for job in jobs):
        raise DataError(
            f"no episode of {source.location.uri} is left to train on; the first problem: {next(iter(bad.values()))}"
        )
    return ConversionPlan(tuple(jobs), tasks, splits.unused, bad, made_from(source, embodiment, options, splits))


def number_jobs(part: str, episodes: Iterable[int], measures: Mapping[int, Measure]) -> list[Job]:
    """Number the episodes of a part from 0 and their frames one after the other."""
    jobs: list[Job] = []
    first = 0
    for index, source_index in enumerate(episodes):
        measure = measures[source_index]
        jobs.append(Job(source_index, part, index, measure.rows, measure.length, first, measure.tasks))
        first += measure.length
    return jobs


def pin_plan(location: Location, plan: ConversionPlan) -> ConversionPlan:
    """Write the plan unless there is one, and return the one that holds."""
    if location.create_json(plan.to_json()):
        return plan
    return ConversionPlan.from_json(location.read_json())


def check_same(output: Location, plan: ConversionPlan, made: Mapping[str, Any]) -> None:
    """Raise `ConfigurationError` when the plan found in `output` was made from something else than `made`."""
    changed = [name for name in made if plan.made.get(name) != made[name]]
    if changed:
        raise ConfigurationError(
            f"{output.uri} holds a conversion with another {' and '.join(changed)}; "
            "choose another folder, or convert anew with --force"
        )


def _measure_all(
    source: SourceDataset,
    embodiment: Embodiment,
    options: ConversionOptions,
    episodes: list[int],
    measured: Callable[[], object],
) -> tuple[dict[int, Measure], dict[int, str]]:
    def measure(index: int) -> Measure | DataError:
        try:
            return measure_episode(source, index, embodiment, options)
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
            if not options.skip_bad:
                threads.shutdown(wait=False, cancel_futures=True)
                raise found
            log.warning("left out: %s", found)
            bad[index] = str(found)
    return measures, bad
