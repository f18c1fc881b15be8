"""The processor against the reference's: prompts, images, state and action, batches, files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from groot_ray.dataset.groot import layout
from groot_ray.json_file import read_json
from groot_ray.parity.check import Check, absent, close, equal
from groot_ray.parity.families import family_module
from groot_ray.parity.recorded import PART, PROCESSOR, Recorded, lacking

NORMALIZED = 1e-6


def compare_prompt(recorded: Recorded) -> Iterator[Check]:
    """The recorded prompt, by the family's own check."""
    if missing := lacking(recorded, "prompt", "data/prompt.json"):
        yield from missing
        return
    yield from family_module(recorded.family, "prompt").prompt_checks(recorded)


def compare_files(recorded: Recorded) -> Iterator[Check]:
    if missing := lacking(recorded, "processor files", PROCESSOR):
        yield from missing
        return
    with tempfile.TemporaryDirectory() as folder:
        recorded.processor.save(Path(folder))
        for name in ("processor_config.json", "statistics.json", "embodiment_id.json"):
            if recorded.file(f"data/processor/{name}") is not None:
                ours = read_json(Path(folder) / name)
                yield equal(PART, f"{name} written again", ours, recorded.json(f"data/processor/{name}"))


def compare_sample(recorded: Recorded) -> Iterator[Check]:
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
        images = np.stack(ours["images"])
        if mode == "eval":
            yield equal(PART, "eval images", images, theirs["eval.images"], f"{len(images)} images")
        else:
            yield equal(
                PART, "train images: shape", images.shape, theirs["train.images"].shape, "their pixels are random"
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


def compare_batch(recorded: Recorded) -> Iterator[Check]:
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
        yield equal(PART, "batch pixel values: images", len(pixels), count)
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
