"""The recorded data of the reference: a processor, samples and a dataset, opened when they are needed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from groot_ray.dataset.groot.dataset import GrootDataset
from groot_ray.json_file import read_json
from groot_ray.model.family import ModelFamily, Processor
from groot_ray.model.shared.tokenizer import TINY, has_tokenizer
from groot_ray.parity.check import Check, absent

PART = "data"
PROCESSOR, CONFIGS = "data/processor/processor_config.json", "data/modality_configs.json"


class Recorded:
    """The folders ``data/`` and ``dataset/``, opened when they are needed."""

    def __init__(self, folder: Path, tokenizer: Path | None, family: ModelFamily) -> None:
        self.folder = folder
        self.family = family
        self.tokenizer = tokenizer or find_tokenizer(folder)

    def file(self, name: str) -> Path | None:
        """A file or folder of the fixtures, or None where there is none."""
        path = self.folder / name
        return path if path.exists() else None

    def json(self, name: str) -> Any:
        """A JSON file of the fixtures."""
        return read_json(self.folder / name)

    def arrays(self, name: str) -> dict[str, np.ndarray] | None:
        """The arrays of an npz file, or None where there is none."""
        path = self.file(name)
        if path is None:
            return None
        with np.load(path, allow_pickle=False) as opened:
            return {key: opened[key] for key in opened.files}

    @cached_property
    def processor(self) -> Processor:
        """The recorded processor; without the real vocabulary its prompts are tokenized with the tiny one."""
        return self.family.load_processor(self.folder / "data" / "processor", self.tokenizer or TINY)

    @property
    def has_processor(self) -> bool:
        """Whether a processor was recorded."""
        return self.file(PROCESSOR) is not None

    @cached_property
    def all_configs(self) -> Mapping[str, Any]:
        """Modality configurations by tag: the processor's, else those recorded separately; empty if there are
        none.
        """
        if self.has_processor:
            return self.processor.modality_configs
        recorded: dict[str, Any] = self.json(CONFIGS) if self.file(CONFIGS) else {}
        return recorded

    @cached_property
    def tag(self) -> str:
        """The tag of the recorded sample."""
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
        """Normalized state and action of every (episode, step) of the dataset, read directly, not from shards."""
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
    """One skipped check for the first missing one of `files`; none if all exist."""
    return [absent(PART, quantity, f"no {name}") for name in files if recorded.file(name) is None][:1]


def find_tokenizer(folder: Path) -> Path | None:
    """A folder ``tokenizer`` in the fixtures' folder or in one of the three above it."""
    for above in (folder, *list(folder.resolve().parents)[:3]):
        if has_tokenizer(above / "tokenizer") or (above / "tokenizer" / "vocab.json").is_file():
            return above / "tokenizer"
    return None
