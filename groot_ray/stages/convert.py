"""convert: the pinned source to GR00T datasets, one for each part, with their statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from groot_ray.experiment.plan import convert_key
from groot_ray.experiment.schema import result_options
from groot_ray.stages import hub
from groot_ray.stages.base import Context, Made, Stage
from groot_ray.stages.download import DATASET, check_unchanged, dataset_location
from groot_ray.stages.sources import source_of
from groot_ray.stages.work import Place, Work
from groot_ray.storage import Location, open_location
from groot_ray.storage.manifest import FileRecord, Manifest, record_files

PARTS = ("train", "validation", "test")
NOTES = "conversion"


class Convert(Stage):
    """GR00T datasets `train`, `validation` and `test` (those that have episodes)."""

    name = "convert"
    after = ("download",)

    def key(self, work: Work) -> str:
        return convert_key(work.experiment, work.robot, work.place("download").name)

    def inputs(self, work: Work) -> dict[str, Any]:
        return {"download": work.place("download").name}

    def options(self, work: Work) -> dict[str, Any]:
        experiment = work.experiment
        return {
            "embodiment": work.robot,
            "conversion": result_options(experiment.conversion),
            "splits": result_options(experiment.splits),
        }

    def run(self, context: Context) -> Made:
        from groot_ray.convert.splits import Splits

        work = context.work
        source = dataset_location(work)
        if source != work.place("download").folder / DATASET:
            check_unchanged(work, source)
        pin = work.source
        train, validation, test = (tuple(pin.parts.get(part, ())) for part in PARTS)
        splits = Splits(train, validation, test, tuple(pin.unused))
        made = self._convert(context, source, splits)
        return Made(made.to_json(), conversion_files(context.output, bool(made.bad)), _sentence(made))

    def look(self, work: Work) -> None:
        from groot_ray.dataset.source.lerobot_v2 import open_source

        _ = work.embodiment
        location = source_of(work.experiment).location
        if location is not None:
            open_source(location)

    def run_plain(self, context: Context) -> Made:
        from groot_ray.convert.splits import split_episodes
        from groot_ray.dataset.source.lerobot_v2 import open_source

        experiment = context.work.experiment
        source = self._plain_source(context)
        if context.force:
            for name in (*PARTS, NOTES):
                (context.output / name).delete_tree()
        wanted = experiment.source.episodes
        episodes = (
            [episode.index for episode in open_source(source).episodes] if wanted is None else sorted(set(wanted))
        )
        made = self._convert(context, source, split_episodes(episodes, experiment.splits))
        return Made(made.to_json(), [], _sentence(made))

    def describe(self, place: Place, manifest: Manifest) -> str:
        return ", ".join(f"{place.folder.uri}/{part}" for part in manifest.made.get("parts", {}))

    def _plain_source(self, context: Context) -> Location:
        """Where the source is; a hub's dataset is fetched into the node's cache."""
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
        hub.fetch(repository, [file for file in hub.list_files(repository) if source.wants(file.path)], cache)
        return cache

    def _convert(self, context: Context, source: Location, splits: Any) -> Any:
        from groot_ray.convert.pipeline import convert_dataset

        work = context.work
        return convert_dataset(
            source,
            work.embodiment,
            work.experiment.conversion,
            splits,
            context.output,
            listeners=context.listeners,
            attempt=context.attempt.stoppable,
        )


def conversion_files(output: Location, has_gaps: bool) -> list[FileRecord]:
    """The files of the parts; what the ledger has hashed is not read again (unless episodes were renumbered after it)."""
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


def _sentence(made: Any) -> str:
    parts = ", ".join(
        f"{name} {numbers['episodes']} episodes ({numbers['frames']} frames)" for name, numbers in made.parts.items()
    )
    out = f"; {len(made.bad)} broken ones left out" if made.bad else ""
    none = f"; in no part: {_few(made.unused)}" if made.unused else ""
    return f"converted {parts}{out}{none}"


def _few(episodes: Sequence[int], most: int = 20) -> str:
    """The first episodes by number, and how many more there are (the manifest has them all)."""
    more = f" and {len(episodes) - most} more" if len(episodes) > most else ""
    return ", ".join(map(str, episodes[:most])) + more
