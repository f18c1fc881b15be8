"""Lists a storage: its experiments with sizes and last use, and the results of each."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from groot_ray.errors import ConfigurationError, DataError, did_you_mean
from groot_ray.experiment.stages import STAGE_NAMES, exports_of
from groot_ray.progress import format_duration, format_size
from groot_ray.stages.place import PLAN
from groot_ray.stages.record import read_current
from groot_ray.storage import Location
from groot_ray.storage.lease import AttemptState, last_attempt
from groot_ray.storage.manifest import MANIFEST, Manifest, read_manifest

LONG_AGO = 2 * 86400  # seconds after which a date is shown instead of an age


@dataclass(frozen=True)
class Summary:
    """An experiment in a storage: files, bytes, last write in Unix seconds, finished stages."""

    name: str
    files: int
    size: int
    used: float
    done: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """The folder of one result of a stage, finished or not.

    Attributes:
        manifests: its manifests by file name; empty while unfinished.
        files, size: number of files and bytes.
        used: time of the last write in Unix seconds.
        attempt: its last attempt.
        checkpoints: manifests of its exported folders by name (`checkpoint-100`), in the order of their numbers.
        top: names of the files directly in the folder.
    """

    stage: str
    folder: Location
    manifests: dict[str, Manifest]
    files: int
    size: int
    used: float
    attempt: AttemptState | None
    checkpoints: dict[str, Manifest] = field(default_factory=dict)
    top: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of its folder: the key with the generation."""
        return self.folder.name

    @property
    def newest(self) -> Manifest | None:
        """The manifest of the last target; None while unfinished."""
        return list(self.manifests.values())[-1] if self.manifests else None


def experiments(root: Location) -> list[Summary]:
    """The experiments in a storage, by name."""
    return [summarize(folder) for folder in root.folders() if is_experiment(folder)]


def is_experiment(folder: Location) -> bool:
    """Whether a folder is an experiment's, which has pins."""
    return folder.name != "lost+found" and (folder / PLAN).has_files()  # a file system's own folder, often unreadable


def summarize(folder: Location) -> Summary:
    """Count an experiment's files, bytes and finished stages; lists every file once."""
    files, size, used, done = 0, 0, 0.0, set()
    for entry in folder.list():
        files, size, used = files + 1, size + entry.size, max(used, entry.modified)
        parts = entry.relative.split("/")
        if len(parts) == 3 and is_proof(parts[2]):
            done.add(parts[0])
    return Summary(folder.name, files, size, used, tuple(sorted(done, key=rank)))


def experiments_table(found: Sequence[Summary]) -> str:
    """The experiments as a text table."""
    if not found:
        return "there are no experiments here"
    rows = [(s.name, format_size(s.size), str(s.files), ago(s.used), ", ".join(s.done) or "-") for s in found]
    return table(("experiment", "size", "files", "last use", "done"), rows)


def results(experiment: Location) -> Iterator[Result]:
    """The results of an experiment, finished or not, in pipeline order."""
    stages = [folder for folder in experiment.folders() if folder.name != PLAN]
    for stage in sorted(stages, key=lambda folder: rank(folder.name)):
        for folder in stage.folders():
            yield read_result(stage.name, folder)


def read_result(stage: str, folder: Location) -> Result:
    """Read the description of the result in a stage's folder."""
    entries = list(folder.list())
    top = [entry.relative for entry in entries if "/" not in entry.relative]
    proofs = sorted((name for name in top if is_proof(name)), key=lambda name: (len(name), name))
    manifests = {name: manifest for name in proofs if (manifest := read_manifest(folder, name)) is not None}
    inner = [
        name
        for entry in entries
        if entry.relative.endswith(f"/{MANIFEST}")
        and any(export.matches(name := entry.relative.removesuffix(f"/{MANIFEST}")) for export in exports_of(stage))
    ]
    checkpoints = {name: read_manifest(folder / name) for name in sorted(inner, key=lambda name: (len(name), name))}
    return Result(
        stage,
        folder,
        manifests,
        len(entries),
        sum(entry.size for entry in entries),
        max((entry.modified for entry in entries), default=0.0),
        last_attempt(folder),
        {name: manifest for name, manifest in checkpoints.items() if manifest is not None},
        tuple(top),
    )


def describe_experiment(experiment: Location) -> str:
    """An experiment's results as text: key, state, attempts, checkpoints, size and folder of each.

    Raises:
        ConfigurationError: there is no such experiment.
    """
    need_experiment(experiment)
    current = current_folders(experiment)
    lines = [experiment.uri]
    for result in results(experiment):
        mark = "*" if current.get(result.stage) == result.name else " "
        lines.append(f"{mark} {result.stage} {result.name}: {state_of(result)}")
        about = [f"{result.files} files, {format_size(result.size)}, last written {ago(result.used)}"]
        if result.checkpoints:
            steps = [name.removeprefix("checkpoint-") for name in result.checkpoints]
            about.append(f"checkpoints {', '.join(steps)}")
        about.extend(made_of(result))
        about.append(result.folder.uri)
        lines.extend(f"    {line}" for line in about)
    lines.append("* written or used by the newest run")
    return "\n".join(lines)


def state_of(result: Result) -> str:
    """State of a result: done, running, or unfinished and why."""
    if result.manifests:
        targets = [name.removeprefix("done-").removesuffix(".json") for name in result.manifests if name != MANIFEST]
        state = f"done ({', '.join(targets)} steps)" if targets else "done"
    else:
        state = "unfinished"
    attempt = result.attempt
    if attempt is None:
        return state
    if attempt.alive:
        return f"{state}, {attempt.who} is running"
    if result.manifests and attempt.code == 0:
        return f"{state}, {attempt.number} attempt{'s' if attempt.number > 1 else ''}"
    if attempt.ended:
        return f"{state}, attempt {attempt.number} ended with {attempt.code}: {attempt.sentence}"
    return f"{state}, attempt {attempt.number} fell silent {format_duration(attempt.age)} ago"


def made_of(result: Result) -> list[str]:
    """A line with a finished result's inputs and version."""
    manifest = result.newest
    if manifest is None:
        return []
    inputs = [
        f"{name} {value}" for name, value in manifest.inputs.items() if isinstance(value, str) and len(value) < 24
    ]
    return [f"from {', '.join(inputs)}; groot-ray {manifest.version}"] if inputs else [f"groot-ray {manifest.version}"]


def need_experiment(experiment: Location) -> None:
    """Raise `ConfigurationError` for a folder that is not an experiment's."""
    if is_experiment(experiment):
        return
    inside = [folder.name for folder in experiment.folders() if is_experiment(folder)]
    if inside:
        raise ConfigurationError(f"{experiment.uri} holds the experiments {', '.join(inside)}; name one of them")
    names = [folder.name for folder in experiment.parent.folders() if is_experiment(folder)]
    present = f"there are {', '.join(names)}" if names else "there are none"
    raise ConfigurationError(
        f"there is no experiment {experiment.name!r} in {experiment.parent.uri}"
        f"{did_you_mean(experiment.name, names)}; {present}"
    )


def current_folders(experiment: Location) -> dict[str, str]:
    """Folder name of the newest result of each stage, from `current.json`."""
    try:
        hint = read_current(experiment)
    except DataError:
        return {}
    return {
        stage: str(entry.get("folder", "")).rpartition("/")[2]
        for stage, entry in hint.items()
        if isinstance(entry, dict)
    }


def is_proof(name: str) -> bool:
    """Whether a file at the top of a result's folder proves that the stage is done."""
    return name == MANIFEST or (name.startswith("done-") and name.endswith(".json"))


def rank(stage: str) -> tuple[int, str]:
    """Sort key of stages: pipeline order, then all other folders by name."""
    return (STAGE_NAMES.index(stage) if stage in STAGE_NAMES else len(STAGE_NAMES), stage)


def ago(moment: float) -> str:
    """A time in Unix seconds as ``3m05s ago``, or as a date if it is long ago."""
    seconds = max(time.time() - moment, 0.0)
    if seconds > LONG_AGO:
        return time.strftime("%Y-%m-%d", time.localtime(moment))
    return f"{format_duration(seconds)} ago"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a text table whose columns are as wide as their widest cell."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = (
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    )
    return "\n".join(lines)
