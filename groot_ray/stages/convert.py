"""convert: turns the pinned source into one GR00T dataset per part, with statistics."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ray import hub
from groot_ray.experiment.plan import convert_key
from groot_ray.experiment.stages import CONVERT, DOWNLOAD, PARTS
from groot_ray.stages.base import Context, Made, Result, Stage
from groot_ray.stages.download import DATASET, check_unchanged, dataset_location
from groot_ray.stages.hub_files import fetch
from groot_ray.stages.place import Place
from groot_ray.stages.sources import source_of
from groot_ray.stages.work import Work
from groot_ray.storage import Location, open_location
from groot_ray.storage.inventory import expected_files
from groot_ray.storage.manifest import FileRecord, Manifest, record_files
from groot_ray.storage.verify import check_files

if TYPE_CHECKING:
    from groot_ray.convert.finish import ConversionSummary
    from groot_ray.convert.splits import Splits
    from groot_ray.dataset.source.recording import Recording

NOTES = "conversion"


class Convert(Stage):
    """Writes the GR00T datasets `train`, `validation` and `test`, if they have episodes."""

    declaration = CONVERT

    def key(self, work: Work) -> str:
        return convert_key(work.experiment, work.robot, work.place(DOWNLOAD.name).name)

    def options(self, work: Work) -> dict[str, Any]:
        return {"embodiment": work.robot, **super().options(work)}

    def run(self, context: Context) -> Made:
        from groot_ray.dataset.source.formats import open_source

        work = context.work
        source = dataset_location(work)
        if source != work.place(DOWNLOAD.name).folder / DATASET:
            check_unchanged(work, source)
        elif (expected := expected_files(source)) is not None:
            check_files(source, expected)
        made = self._convert(context, open_source(source), _pinned_splits(work))
        return Made(made.to_json(), conversion_files(context.output, bool(made.bad)), _sentence(made))

    def rebuild(self, result: Result, paths: Collection[str], folder: Path) -> Iterator[str]:
        from groot_ray.convert.plan import ConversionRequest
        from groot_ray.convert.repair import pinned_plan, rebuild_part
        from groot_ray.convert.task import Conversion
        from groot_ray.dataset.source.formats import open_source

        work = result.work
        source = dataset_location(work)
        request = ConversionRequest(
            open_source(source),
            work.embodiment,
            work.experiment.conversion,
            _pinned_splits(work),
            open_location(folder),
        )
        plan = pinned_plan(result.folder / NOTES / "plan.json", request)
        conversion = Conversion(request, plan, result.lease)
        bad = {int(index) for index in result.manifest.made.get("bad_episodes", {})}
        for part in PARTS:
            damaged = [path.removeprefix(f"{part}/") for path in paths if path.startswith(f"{part}/")]
            if damaged:
                for path in rebuild_part(conversion, part, bad, damaged, result.folder / part):
                    yield f"{part}/{path}"

    def files_of(self, result: Result) -> list[FileRecord]:
        return conversion_files(result.folder, bool(result.manifest.made.get("bad_episodes")))

    def check_inputs(self, work: Work) -> None:
        from groot_ray.dataset.source.formats import open_source

        _ = work.embodiment
        location = source_of(work.experiment).location
        if location is not None:
            open_source(location)

    def run_plain(self, context: Context) -> Made:
        from groot_ray.convert.splits import split_episodes
        from groot_ray.dataset.source.formats import open_source

        experiment = context.work.experiment
        source = self._plain_source(context)
        if context.force:
            for name in (*PARTS, NOTES):
                (context.output / name).delete_tree()
        recording = open_source(source)
        wanted = experiment.source.episodes
        episodes = [episode.index for episode in recording.episodes] if wanted is None else sorted(set(wanted))
        made = self._convert(context, recording, split_episodes(episodes, experiment.splits))
        return Made(made.to_json(), [], _sentence(made))

    def describe(self, place: Place, manifest: Manifest) -> str:
        return ", ".join(f"{place.folder.uri}/{part}" for part in manifest.made.get("parts", {}))

    def _plain_source(self, context: Context) -> Location:
        """Location of the source; a hub dataset is downloaded to this machine's cache."""
        experiment = context.work.experiment
        source = source_of(experiment)
        if source.location is not None:
            return source.location
        assert source.repository is not None
        repository = hub.resolve(source.repository, "dataset", source.revision)
        cache = (
            open_location(experiment.storage.cache)
            / "datasets"
            / source.repository.replace("/", "--")
            / repository.commit
        )
        fetch(repository, [file for file in hub.list_files(repository) if source.wants(file.path)], cache)
        return cache

    def _convert(self, context: Context, source: Recording, splits: Splits) -> ConversionSummary:
        from groot_ray.convert.pipeline import convert_dataset
        from groot_ray.convert.plan import ConversionRequest

        work = context.work
        request = ConversionRequest(source, work.embodiment, work.experiment.conversion, splits, context.output)
        return convert_dataset(request, listeners=context.listeners, attempt=context.attempt.stoppable)


STAGE = Convert()


def conversion_files(output: Location, has_gaps: bool) -> list[FileRecord]:
    """The files of all parts. Files hashed in the ledger are read again only if episodes were renumbered."""
    from groot_ray.convert.ledger import Ledger

    known: dict[str, FileRecord] = {}
    if not has_gaps:
        for entry in Ledger(output / NOTES / "ledger").read():
            for file in entry.files:
                known[f"{entry.part}/{file.path}"] = FileRecord(f"{entry.part}/{file.path}", file.size, file.sha256)
    listed = {f"{part}/{entry.relative}": entry.size for part in PARTS for entry in (output / part).list()}
    hashed = [record for path, record in known.items() if listed.get(path) == record.size]
    unknown = sorted(set(listed) - {record.path for record in hashed})
    return [*hashed, *record_files(output, unknown)]


def _pinned_splits(work: Work) -> Splits:
    from groot_ray.convert.splits import Splits

    pin = work.source
    train, validation, test = (tuple(pin.parts.get(part, ())) for part in PARTS)
    return Splits(train, validation, test, tuple(pin.unused))


def _sentence(made: ConversionSummary) -> str:
    parts = ", ".join(
        f"{name} {numbers['episodes']} episodes ({numbers['frames']} frames)" for name, numbers in made.parts.items()
    )
    skipped = f"; {len(made.bad)} broken episodes left out" if made.bad else ""
    unused = f"; in no part: {_few(made.unused)}" if made.unused else ""
    return f"converted {parts}{skipped}{unused}"


def _few(episodes: Sequence[int], most: int = 20) -> str:
    """The first episode numbers and how many more there are; the manifest lists all."""
    more = f" and {len(episodes) - most} more" if len(episodes) > most else ""
    return ", ".join(map(str, episodes[:most])) + more
