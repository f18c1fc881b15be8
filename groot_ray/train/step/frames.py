"""A memory cache of decoded images: a small dataset is decoded only once, a large one is cached in part."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from groot_ray.dataset.groot.dataset import GrootDataset


class DatasetInMemory(GrootDataset):
    """A dataset that keeps the first images that it decodes, up to `room` bytes. Thread-safe.

    Nothing is evicted: samples come in random order, so the least recently used image is as likely as any other.
    """

    def __init__(self, path: Path | str, room: int) -> None:
        super().__init__(path)
        self._room = room
        self._images: dict[tuple[int, str, int], np.ndarray] = {}
        self._counting = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_images": {}, "_counting": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._counting = threading.Lock()

    def frames(self, position: int, key: str, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """See `GrootDataset.frames`: uint8 [len(indices), H, W, 3]."""
        wanted = [int(index) for index in indices]
        found = {index: self._images.get((position, key, index)) for index in wanted}
        missing = [index for index, image in found.items() if image is None]
        if missing:
            for index, image in zip(missing, super().frames(position, key, missing), strict=True):
                found[index] = image
                self._remember((position, key, index), image)
        return np.stack([found[index] for index in wanted])  # type: ignore[misc]

    def _remember(self, place: tuple[int, str, int], image: np.ndarray) -> None:
        with self._counting:
            if image.nbytes <= self._room and place not in self._images:
                self._room -= image.nbytes
                self._images[place] = image.copy()
