"""Processing and data against the reference's: prompts, pictures, state and action, statistics, samples, files."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from groot_ray.dataset.groot.dataset import GrootDataset, layout
from groot_ray.dataset.groot.shards import Shard, schedule, shard_episodes, shard_lengths
from groot_ray.model.n1d6.processor import Processor
from groot_ray.model.n1d6.prompt import formalize, render
from groot_ray.model.shared.tokenizer import build_tokenizer, has_tokenizer
from groot_ray.parity.check import Check, absent, close, equal, guarded
from groot_ray.statistics.files import dataset_statistics
from groot_ray.statistics.mixture import merge_statistics
from groot_ray.storage import open_location

PART = "data"
NORMALIZED = 1e-6
STATISTICS = 1e-6
PROCESSOR, CONFIGS = "data/processor/processor_config.json", "data/modality_configs.json"
SEED = 42  # the reference's, for shards and their order


def data_checks(fixtures: Path, tokenizer: Path | None) -> list[Check]:
    """All checks for which the folder has recorded outputs."""
    recorded = Recorded(fixtures, tokenizer)
    checks: list[Check] = []
    for quantity, function in (
        ("prompt", _prompt),
        ("processor files", _files),
        ("sample", _sample),
        ("batch", _batch),
        ("statistics", _statistics),
        ("merged statistics", _merged),
        ("shards", _shards),
        ("samples of the stream", _stream),
    ):
        checks += guarded(PART, quantity, lambda function=function: function(recorded))
    return checks


class Recorded:
    """The folders ``data/`` and ``dataset/``, opened when they are needed."""

    def __init__(self, folder: Path, tokenizer: Path | None) -> None:
        self.folder = folder
        self.tokenizer = tokenizer or find_tokenizer(folder)

    def file(self, name: str) -> Path | None:
        """A file or folder of the fixtures, or None where there is none."""
        path = self.folder / name
        return path if path.exists() else None

    def json(self, name: str) -> Any:
        """A JSON file of the fixtures."""
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def arrays(self, name: str) -> dict[str, np.ndarray] | None:
        """The arrays of an npz file, or None where there is none."""
        path = self.file(name)
        if path is None:
            return None
        with np.load(path, allow_pickle=False) as opened:
            return {key: opened[key] for key in opened.files}

    @cached_property
    def processor(self) -> Processor:
        """The recorded processor; without the real vocabulary prompts cannot be tokenized."""
        return Processor.from_directory(self.folder / "data" / "processor", tokenizer=self.tokenizer or "tiny")

    @property
    def has_processor(self) -> bool:
        """Whether a processor was recorded."""
        return self.file(PROCESSOR) is not None

    @cached_property
    def all_configs(self) -> Mapping[str, Any]:
        """Modality configurations by tag: the processor's, else those recorded by themselves; empty where there are none."""
        if self.has_processor:
            return self.processor.modality_configs
        recorded: dict[str, Any] = self.json(CONFIGS) if self.file(CONFIGS) else {}
        return recorded

    @cached_property
    def tag(self) -> str:
        """The tag that the recorded sample is of."""
        tags = list(self.all_configs)
        if len(tags) == 1:
            return tags[0]
        sample = self.arrays("data/processor_sample.npz") or {}
        if "eval.embodiment_id" in sample and self.has_processor:
            number = int(sample["eval.embodiment_id"])
            tags = [tag for tag in tags if self.processor.embodiment_ids[tag] == number]
        elif self.file(CONFIGS) is not None:
            tags = [tag for tag in tags if tag in self.json(CONFIGS)]
        return tags[0]

    @cached_property
    def configs(self) -> Mapping[str, Any]:
        """The tag's modality configuration as plain data."""
        return self.all_configs[self.tag]

    @cached_property
    def dataset(self) -> GrootDataset:
        """The recorded dataset."""
        return GrootDataset(self.folder / "dataset")

    @cached_property
    def samples(self) -> dict[tuple[int, int], dict[str, np.ndarray]]:
        """Normalized state and action of every (episode, step) of the dataset, taken directly and not from shards."""
        found = {}
        blank = {key: np.zeros((1, 32, 32, 3), np.uint8) for key in self.configs["video"]["modality_keys"]}
        for position in range(len(self.dataset)):
            for step in range(self.dataset.effective_length(position, self.configs)):
                raw = self.dataset.sample(position, step, self.configs, self.tag, with_images=False)
                features = self.processor.process({**raw, "images": blank}, train=False)
                found[position, step] = {name: features[name] for name in ("state", "action")}
        return found

    def found(self, state: np.ndarray, action: np.ndarray) -> tuple[int, int] | None:
        """The (episode, step) whose normalized state and action these are."""
        best = min(
            self.samples,
            key=lambda place: float(
                np.abs(self.samples[place]["action"] - action).max()
                + np.abs(self.samples[place]["state"] - state).max()
            ),
            default=None,
        )
        if best is None or np.abs(self.samples[best]["action"] - action).max() > 1e-3:
            return None
        return best


def lacking(recorded: Recorded, quantity: str, *files: str) -> list[Check]:
    """One check that was not made, for the first of the `files` that is not there; none where all are."""
    return [absent(PART, quantity, f"no {name}") for name in files if recorded.file(name) is None][:1]


def find_tokenizer(folder: Path) -> Path | None:
    """A folder ``tokenizer`` in the fixtures' folder or in one of the three above it."""
    for above in (folder, *list(folder.resolve().parents)[:3]):
        if has_tokenizer(above / "tokenizer") or (above / "tokenizer" / "vocab.json").is_file():
            return above / "tokenizer"
    return None


def _prompt(recorded: Recorded) -> Iterator[Check]:
    if missing := lacking(recorded, "prompt", "data/prompt.json"):
        yield from missing
        return
    theirs = recorded.json("data/prompt.json")
    formal = not recorded.has_processor or recorded.processor.settings.get("formalize_language", True)
    instruction = formalize(theirs["raw_text"]) if formal else theirs["raw_text"]
    for mode, text in theirs["texts"].items():
        pictures = text.count("<image-")
        yield equal(PART, f"prompt text ({mode})", render(instruction, pictures), text)
    if recorded.tokenizer is None:
        yield absent(PART, "prompt tokens", "no real vocabulary: give it with --tokenizer")
        return
    ids = build_tokenizer(recorded.tokenizer).encode
    expected = [token for token, _, count in theirs["run_length_layout"] for _ in range(count)]
    expanded = "".join(text * count for _, text, count in theirs["run_length_layout"])
    yield equal(PART, "prompt tokens", np.asarray(ids(expanded)), np.asarray(expected), f"{len(expected)} tokens")


def _files(recorded: Recorded) -> Iterator[Check]:
    if missing := lacking(recorded, "processor files", PROCESSOR):
        yield from missing
        return
    with tempfile.TemporaryDirectory() as folder:
        recorded.processor.save(Path(folder))
        for name in ("processor_config.json", "statistics.json", "embodiment_id.json"):
            if recorded.file(f"data/processor/{name}") is not None:
                ours = json.loads((Path(folder) / name).read_text(encoding="utf-8"))
                yield equal(PART, f"{name} written again", ours, recorded.json(f"data/processor/{name}"))


def _sample(recorded: Recorded) -> Iterator[Check]:
    theirs = recorded.arrays("data/processor_sample.npz")
    if theirs is None or not recorded.has_processor:
        yield from lacking(recorded, "sample", "data/processor_sample.npz", PROCESSOR)
        return
    raw = _raw(recorded, theirs)
    for mode in ("train", "eval"):
        ours = recorded.processor.process(raw, train=mode == "train", rng=np.random.default_rng(0))
        for name in ("state", "action"):
            if f"{mode}.{name}" in theirs:
                yield close(PART, f"{mode} {name}, normalized", ours[name], theirs[f"{mode}.{name}"], NORMALIZED)
        if f"{mode}.action_mask" in theirs:
            yield equal(PART, f"{mode} action mask", np.asarray(ours["action_mask"]), theirs[f"{mode}.action_mask"])
        if f"{mode}.embodiment_id" in theirs:
            yield equal(PART, f"{mode} embodiment id", int(ours["embodiment_id"]), int(theirs[f"{mode}.embodiment_id"]))
        if f"{mode}.images" not in theirs:
            yield absent(PART, f"{mode} images", "not recorded")
            continue
        pictures = np.stack(ours["images"])
        if mode == "eval":
            yield equal(PART, "eval images", pictures, theirs["eval.images"], f"{len(pictures)} pictures")
        else:
            yield equal(
                PART, "train images: shape", pictures.shape, theirs["train.images"].shape, "their pixels are random"
            )
    states = {key: value[None] for key, value in raw["state"].items()}
    recorded_keys = [name for name in theirs if name.startswith("decoded_action.")]
    if not recorded_keys or "eval.action" not in theirs:
        yield absent(PART, "decoded action", "not recorded")
        return
    decoded = recorded.processor.decode_action(theirs["eval.action"][None], recorded.tag, states)
    for key in recorded_keys:
        yield close(
            PART, f"decoded action {key.split('.', 1)[1]}", decoded[key.split(".", 1)[1]], theirs[key], NORMALIZED
        )


def _raw(recorded: Recorded, theirs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The recorded sample before processing."""
    parts: dict[str, dict[str, np.ndarray]] = {"image": {}, "state": {}, "action": {}}
    for name, value in theirs.items():
        part, _, key = name.partition(".")
        if part.startswith("raw_"):
            parts[part.removeprefix("raw_")][key] = value
    text = recorded.json("data/prompt.json")["raw_text"] if recorded.file("data/prompt.json") else ""
    return {
        "images": parts["image"],
        "state": parts["state"],
        "action": parts["action"],
        "language": text,
        "tag": recorded.tag,
    }


def _batch(recorded: Recorded) -> Iterator[Check]:
    theirs = recorded.arrays("data/processor_sample.npz")
    if theirs is None or "batch.state" not in theirs:
        yield absent(PART, "batch", "no recorded batch in data/processor_sample.npz")
        return
    if missing := lacking(recorded, "batch", PROCESSOR, f"dataset/{layout.INFO}", "dataset/videos"):
        yield from missing
        return
    places = [recorded.found(s, a) for s, a in zip(theirs["batch.state"], theirs["batch.action"], strict=True)]
    if any(place is None for place in places):
        yield equal(PART, "samples of the batch in the dataset", places.count(None), 0)
        return
    samples = [
        recorded.dataset.sample(*place, recorded.configs, recorded.tag, rng=np.random.default_rng(0))
        for place in places
        if place
    ]
    if recorded.tokenizer is not None:
        for row, place in enumerate(places):
            assert place is not None
            samples[row]["language"] = _instruction_of(recorded, place, samples[row], theirs, row)
    batch = recorded.processor.collate([recorded.processor.process(sample, train=False) for sample in samples])
    for name in ("state", "action"):
        yield close(PART, f"batch {name}", batch[name], theirs[f"batch.{name}"], NORMALIZED)
    for name in ("action_mask", "embodiment_id"):
        yield equal(PART, f"batch {name}", batch[name].numpy(), theirs[f"batch.{name}"])
    pixels = [image[None] if image.ndim == 3 else image for image in batch["pixel_values"]]
    count = sum(name.startswith("batch.pixel_values_") for name in theirs)
    if count:
        yield equal(PART, "batch pixel values: pictures", len(pixels), count)
    for index, image in enumerate(pixels):
        if f"batch.pixel_values_{index}" in theirs:
            yield close(PART, f"batch pixel values {index}", image, theirs[f"batch.pixel_values_{index}"], NORMALIZED)
    if recorded.tokenizer is None:
        yield absent(PART, "batch tokens", "no real vocabulary: give it with --tokenizer")
        return
    for name in ("input_ids", "attention_mask"):
        yield equal(PART, f"batch {name}", batch[name].numpy(), theirs[f"batch.{name}"])


def _instruction_of(
    recorded: Recorded, place: tuple[int, int], sample: dict[str, Any], theirs: Mapping[str, np.ndarray], row: int
) -> str:
    """Which of the episode's task texts a row of the recorded batch has: the reference draws one at random."""
    wanted = theirs["batch.input_ids"][row][theirs["batch.attention_mask"][row].astype(bool)]
    draws = (
        recorded.dataset.sample(*place, recorded.configs, recorded.tag, np.random.default_rng(seed), with_images=False)
        for seed in range(32)
    )
    texts = dict.fromkeys([sample["language"], *(draw["language"] for draw in draws)])
    if len(texts) > 1:
        for text in texts:
            batch = recorded.processor.collate([recorded.processor.process({**sample, "language": text}, train=False)])
            if np.array_equal(batch["input_ids"].numpy()[0][batch["attention_mask"].numpy()[0].astype(bool)], wanted):
                return text
    return next(iter(texts))


def _statistics(recorded: Recorded) -> Iterator[Check]:
    if recorded.file(f"dataset/{layout.STATS}") is None:
        yield absent(PART, "statistics", f"no dataset/{layout.STATS}")
        return
    configs = recorded.configs if recorded.all_configs else {}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "dataset"
        shutil.copytree(recorded.folder / "dataset", copy, ignore=shutil.ignore_patterns("videos"))
        absolute, relative = dataset_statistics(open_location(copy), configs)
    for name, ours, file in (
        ("stats.json", absolute, layout.STATS),
        ("relative_stats.json", relative, layout.RELATIVE_STATS),
    ):
        if recorded.file(f"dataset/{file}") is None:
            yield absent(PART, name, f"no dataset/{file}")
            continue
        if file == layout.RELATIVE_STATS and not configs:
            yield absent(PART, name, f"no {CONFIGS} and no {PROCESSOR}")
            continue
        theirs = recorded.json(f"dataset/{file}")
        yield equal(PART, f"{name} keys", sorted(ours), sorted(theirs))
        for key in sorted(set(ours) & set(theirs)):
            for quantity in theirs[key]:
                yield close(PART, f"{name} {key} {quantity}", ours[key][quantity], theirs[key][quantity], STATISTICS)


def _merged(recorded: Recorded) -> Iterator[Check]:
    """The statistics that the reference's run normalizes with: of a single dataset here, so those of its parts by key."""
    needed = ("data/statistics_merged.json", f"dataset/{layout.STATS}")
    if missing := lacking(recorded, "merged statistics", *needed):
        yield from missing
        return
    if not recorded.all_configs:
        yield from lacking(recorded, "merged statistics", CONFIGS)
        return
    own = recorded.dataset.statistics(recorded.configs)
    theirs = recorded.json("data/statistics_merged.json")[recorded.tag]
    for part, keys in theirs.items():
        yield equal(PART, f"merged statistics: keys of {part}", sorted(own[part]), sorted(keys))
        for key, entries in keys.items():
            merged = merge_statistics([own[part][key]], [1.0])
            worst = max(
                (
                    close(PART, f"merged statistics {part} {key}", merged[name], entries[name], STATISTICS)
                    for name in entries
                ),
                key=lambda check: check.difference or 0.0,
            )
            yield worst


def _shards(recorded: Recorded) -> Iterator[Check]:
    if recorded.file("data/shards.json") is None:
        yield absent(PART, "shards", "no data/shards.json")
        return
    theirs = recorded.json("data/shards.json")
    lengths = theirs["effective_lengths"]
    if recorded.file(f"dataset/{layout.INFO}") is not None and recorded.all_configs:
        ours = [
            recorded.dataset.effective_length(position, recorded.configs) for position in range(len(recorded.dataset))
        ]
        yield equal(PART, "effective lengths of episodes", ours, lengths)
    count = len(theirs["shards"])
    size = -(-sum(lengths) // count)  # only the number of shards matters, not the size that led to it
    splits = max(
        sum(episode == which for shard in theirs["shards"] for which, _ in shard) for episode in range(len(lengths))
    )
    rate = 1 / (splits + 0.5)  # any rate gives int(1 / rate) splits; this one whatever the rounding
    plain = theirs["shards"]
    seed = _seed(theirs, lambda seed: _plain(shard_episodes(lengths, size, rate, seed)) == plain)
    shards = shard_episodes(lengths, size, rate, seed)
    yield equal(
        PART,
        "shards",
        _plain(shards),
        plain,
        f"{count} shards, seed {seed}",
    )
    yield equal(PART, "shard lengths", shard_lengths(shards), theirs["shard_lengths"])
    entries, wanted = len(theirs["schedule"]), [tuple(entry) for entry in theirs["schedule"]]
    seed = _seed(theirs, lambda seed: schedule([count], [1.0], entries, seed) == wanted)
    order = schedule([count], [1.0], entries, seed)
    yield equal(PART, "order of shards", order, wanted, f"{entries} entries, seed {seed}")


def _plain(shards: list[Shard]) -> list[Any]:
    """Shards as they are recorded."""
    return [[[episode, steps.tolist()] for episode, steps in shard] for shard in shards]


def _seed(recorded: Mapping[str, Any], fits: Callable[[int], bool]) -> int:
    """The seed of a recording: the one that it names, else the reference's default or one of the first thousand that fits it."""
    if "seed" in recorded:
        return int(recorded["seed"])
    return next((seed for seed in (SEED, *range(1000)) if fits(seed)), SEED)


def _stream(recorded: Recorded) -> Iterator[Check]:
    theirs = recorded.arrays("data/stream_first12.npz")
    missing = lacking(recorded, "samples of the stream", "data/stream_first12.npz", f"dataset/{layout.INFO}", PROCESSOR)
    if theirs is None or missing:
        yield from missing
        return
    places, state, action = [], 0.0, 0.0
    for their_state, their_action in zip(theirs["state"], theirs["action"], strict=True):
        place = recorded.found(their_state, their_action)
        places.append(place)
        if place is not None:
            state = max(state, float(np.abs(recorded.samples[place]["state"] - their_state).max()))
            action = max(action, float(np.abs(recorded.samples[place]["action"] - their_action).max()))
    yield equal(PART, "samples of the stream found by (episode, step)", places.count(None), 0, f"{len(places)} samples")
    yield Check(PART, "samples of the stream: state", state, NORMALIZED, state <= NORMALIZED)
    yield Check(PART, "samples of the stream: action", action, NORMALIZED, action <= NORMALIZED)
    if recorded.file("data/shards.json") is not None:
        recorded_shards = recorded.json("data/shards.json")
        first = recorded_shards["shards"][recorded_shards["schedule"][0][1]]
        listed = [(episode, step) for episode, steps in first for step in steps]

        def order(seed: int) -> list[tuple[int, int]]:
            return [listed[index] for index in np.random.default_rng(seed).permutation(len(listed))][: len(places)]

        ours, theirs_order = order(_seed(recorded_shards, lambda seed: order(seed) == places)), places[: len(listed)]
        yield equal(PART, "order of the stream in the first shard", ours, theirs_order, f"{len(listed)} samples in it")
