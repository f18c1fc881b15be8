"""What lies in a storage: experiments with sizes and last use, what each has made, and copies of finished results in plain folders."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from groot_ray.errors import ConfigurationError, DataError, did_you_mean
from groot_ray.progress import format_duration, format_size, progress
from groot_ray.storage.lease import AttemptState, last_attempt
from groot_ray.storage.location import Location
from groot_ray.storage.manifest import MANIFEST, Manifest, read_files, read_manifest
from groot_ray.storage.store import NotFoundError
from groot_ray.storage.tree import for_each

ORDER = ("download", "convert", "finetune", "evaluate")
PLAN, CURRENT = "plan", "current.json"
DATASETS = ("train", "validation", "test")


@dataclass(frozen=True)
class Summary:
    """An experiment in a storage: its name, files, bytes, time of the last write (Unix seconds), and its finished stages."""

    name: str
    files: int
    size: int
    used: float
    done: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """A stage's folder: its manifests by name (none while unfinished), files, bytes, last write, and its last attempt.

    `checkpoints` holds the manifests of a run's checkpoints by step, `top` the names of the files directly in the folder.
    """

    stage: str
    folder: Location
    manifests: dict[str, Manifest]
    files: int
    size: int
    used: float
    attempt: AttemptState | None
    checkpoints: dict[int, Manifest] = field(default_factory=dict)
    top: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its folder's name: the key, with its generation."""
        return self.folder.name

    @property
    def newest(self) -> Manifest | None:
        """The manifest of the last target, None while unfinished."""
        return list(self.manifests.values())[-1] if self.manifests else None


def experiments(root: Location) -> list[Summary]:
    """The experiments in a storage, by name."""
    return [summarize(folder) for folder in root.folders() if is_experiment(folder)]


def is_experiment(folder: Location) -> bool:
    """Whether a folder is an experiment's: one that has pinned something."""
    return folder.name != "lost+found" and (folder / PLAN).has_files()  # a disk's own folder, which may not be read


def summarize(folder: Location) -> Summary:
    """Count what an experiment holds; lists every file once."""
    files, size, used, done = 0, 0, 0.0, set()
    for entry in folder.list():
        files, size, used = files + 1, size + entry.size, max(used, entry.modified)
        parts = entry.relative.split("/")
        if len(parts) == 3 and is_proof(parts[2]):
            done.add(parts[0])
    return Summary(folder.name, files, size, used, tuple(sorted(done, key=rank)))


def experiments_table(found: Sequence[Summary]) -> str:
    """The experiments as a table for people."""
    if not found:
        return "there are no experiments here"
    rows = [(s.name, format_size(s.size), str(s.files), ago(s.used), ", ".join(s.done) or "-") for s in found]
    return table(("experiment", "size", "files", "last use", "done"), rows)


def results(experiment: Location) -> Iterator[Result]:
    """The results of an experiment, finished or not, in the order of the stages."""
    stages = [folder for folder in experiment.folders() if folder.name != PLAN]
    for stage in sorted(stages, key=lambda folder: rank(folder.name)):
        for folder in stage.folders():
            yield look_into(stage.name, folder)


def look_into(stage: str, folder: Location) -> Result:
    """A stage's folder with all that describes it."""
    entries = list(folder.list())
    top = [entry.relative for entry in entries if "/" not in entry.relative]
    proofs = sorted((name for name in top if is_proof(name)), key=lambda name: (len(name), name))
    manifests = {name: manifest for name in proofs if (manifest := read_manifest(folder, name)) is not None}
    checkpoints = {}
    for entry in entries:
        parent, _, name = entry.relative.rpartition("/")
        step = parent.removeprefix("checkpoint-")
        if name == MANIFEST and parent.startswith("checkpoint-") and step.isdigit():
            manifest = read_manifest(folder / parent)
            if manifest is not None:
                checkpoints[int(step)] = manifest
    return Result(
        stage,
        folder,
        manifests,
        len(entries),
        sum(entry.size for entry in entries),
        max((entry.modified for entry in entries), default=0.0),
        last_attempt(folder),
        dict(sorted(checkpoints.items())),
        tuple(top),
    )


def describe_experiment(experiment: Location) -> str:
    """What an experiment has made, for people: each result with its key, state, attempts, checkpoints, size and folder.

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
            about.append(f"checkpoints {', '.join(map(str, result.checkpoints))}")
        about.extend(made_of(result))
        about.append(result.folder.uri)
        lines.extend(f"    {line}" for line in about)
    lines.append("* what the newest run made or used")
    return "\n".join(lines)


def state_of(result: Result) -> str:
    """Whether a result is finished, being made, or why not."""
    if result.manifests:
        targets = [name.removeprefix("done-").removesuffix(".json") for name in result.manifests if name != MANIFEST]
        told = f"done ({', '.join(targets)} steps)" if targets else "done"
    else:
        told = "unfinished"
    attempt = result.attempt
    if attempt is None:
        return told
    if attempt.alive:
        return f"{told}, {attempt.who} is at work"
    if result.manifests and attempt.code == 0:
        return f"{told}, {attempt.number} attempt{'s' if attempt.number > 1 else ''}"
    if attempt.ended:
        return f"{told}, attempt {attempt.number} ended with {attempt.code}: {attempt.sentence}"
    return f"{told}, attempt {attempt.number} fell silent {format_duration(attempt.age)} ago"


def made_of(result: Result) -> list[str]:
    """A line on what a finished result is made of."""
    manifest = result.newest
    if manifest is None:
        return []
    inputs = [
        f"{name} {value}" for name, value in manifest.inputs.items() if isinstance(value, str) and len(value) < 24
    ]
    return [f"from {', '.join(inputs)}; groot-ray {manifest.version}"] if inputs else [f"groot-ray {manifest.version}"]


def export(experiment: Location, what: str, target: Location) -> str:
    """Copy a finished dataset part, checkpoint or evaluation to a plain folder; returns a sentence.

    Only files that a manifest names are copied, without the account of how they were made; of a checkpoint not what only a resume needs.

    Raises:
        ConfigurationError: there is no such experiment or result, or the folder holds something else.
        DataError: a file that the manifest names is missing or has another size.
    """
    need_experiment(experiment)
    folder, files = find_export(experiment, what)
    sizes = {entry.relative: entry.size for entry in folder.list()}
    broken = next((path for path, size in files.items() if sizes.get(path) != size), None)
    if broken is not None:
        raise DataError(
            f"{folder.uri}/{broken} is missing or has another size than its manifest says; make it anew with --force"
        )
    foreign = next((entry.relative for entry in target.list() if entry.relative not in files), None)
    if foreign is not None:
        raise ConfigurationError(f"{target.uri} holds other files ({foreign}); choose an empty folder")
    with progress("export", len(files), "files") as bar:

        def copy(path: str) -> None:
            (target / path).copy_from(folder / path)
            bar.advance(1)

        for_each(copy, sorted(files))
    return f"{what} of {experiment.name}: {len(files)} files, {format_size(sum(files.values()))} copied to {target.uri}"


def find_export(experiment: Location, what: str) -> tuple[Location, dict[str, int]]:
    """The folder that `what` names, and the sizes of its files by path."""
    found = list(results(experiment))
    current = current_folders(experiment)
    found.sort(key=lambda result: (current.get(result.stage) == result.name, result.used), reverse=True)
    offered: list[str] = []
    for result in found:
        for name, folder, files in exports(result):
            if name == what:
                return folder, files
            offered.append(name)
    if what == "checkpoint":
        last = [name for name in offered if name.startswith("checkpoint-")]
        if last:
            return find_export(experiment, max(last, key=lambda name: int(name.rpartition("-")[2])))
    known = sorted(set(offered))
    raise ConfigurationError(
        f"{experiment.name} has no finished {what!r}{did_you_mean(what, known)}; it has {', '.join(known) or 'nothing finished yet'}"
    )


def exports(result: Result) -> Iterator[tuple[str, Location, dict[str, int]]]:
    """What can be exported of a result: name, folder, and sizes of the files by path."""
    if result.stage == "convert" and result.manifests:
        files = read_files(result.folder)
        for part in DATASETS:
            chosen = {
                file.path.removeprefix(f"{part}/"): file.size for file in files if file.path.startswith(f"{part}/")
            }
            if chosen:
                yield part, result.folder / part, chosen
    for step, manifest in reversed(result.checkpoints.items()):
        resume = set(manifest.made.get("resume", ()))
        chosen = {file["path"]: file["size"] for file in manifest.made.get("files", ()) if file["path"] not in resume}
        yield f"checkpoint-{step}", result.folder / f"checkpoint-{step}", chosen
    if result.stage == "evaluate" and result.manifests:
        yield "evaluation", result.folder, {file.path: file.size for file in read_files(result.folder)}


def need_experiment(experiment: Location) -> None:
    """Raise `ConfigurationError` for a folder that is no experiment's."""
    if is_experiment(experiment):
        return
    names = [folder.name for folder in experiment.parent.folders() if is_experiment(folder)]
    there = f"there are {', '.join(names)}" if names else "there are none"
    raise ConfigurationError(
        f"there is no experiment {experiment.name!r} in {experiment.parent.uri}{did_you_mean(experiment.name, names)}; {there}"
    )


def current_folders(experiment: Location) -> dict[str, str]:
    """The hint of the newest run: names of the folders by stage."""
    try:
        hint = (experiment / CURRENT).read_json()
    except (NotFoundError, DataError):
        return {}
    return {
        stage: str(entry.get("folder", "")).rpartition("/")[2]
        for stage, entry in hint.items()
        if isinstance(entry, dict)
    }


def is_proof(name: str) -> bool:
    """Whether a file at the top of a stage's folder proves that the stage is done."""
    return name == MANIFEST or (name.startswith("done-") and name.endswith(".json"))


def rank(stage: str) -> tuple[int, str]:
    """Order of stages: the pipeline's, then all others by name."""
    return (ORDER.index(stage) if stage in ORDER else len(ORDER), stage)


def ago(moment: float) -> str:
    """A time as ``3m05s ago``, or as a date when that is long past."""
    seconds = max(time.time() - moment, 0.0)
    if seconds > 2 * 86400:
        return time.strftime("%Y-%m-%d", time.localtime(moment))
    return f"{format_duration(seconds)} ago"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side, as wide as they need to be."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = (
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    )
    return "\n".join(lines)
