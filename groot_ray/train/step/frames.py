"""Decoded pictures kept in memory: a small dataset is decoded once, a large one as far as the room goes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from groot_ray.dataset.groot.dataset import GrootDataset


class DatasetInMemory(GrootDataset):
    """A dataset that remembers the first pictures that are asked for, up to `room` bytes of them. Threads may share it.

    What is in memory stays: samples come in a random order, in which the least recently used picture is no less needed than another.
    """

    def __init__(self, path: Path | str, room: int) -> None:
        super().__init__(path)
        self._room = room
        self._pictures: dict[tuple[int, str, int], np.ndarray] = {}
        self._counting = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_pictures": {}, "_counting": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._counting = threading.Lock()

    def frames(self, position: int, key: str, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        wanted = [int(index) for index in indices]
        found = {index: self._pictures.get((position, key, index)) for index in wanted}
        missing = [index for index, picture in found.items() if picture is None]
        if missing:
            for index, picture in zip(missing, super().frames(position, key, missing), strict=True):
                found[index] = picture
                self._remember((position, key, index), picture)
        return np.stack([found[index] for index in wanted])  # type: ignore[misc]

    def _remember(self, place: tuple[int, str, int], picture: np.ndarray) -> None:
        with self._counting:
            if picture.nbytes <= self._room and place not in self._pictures:
                self._room -= picture.nbytes
                self._pictures[place] = picture.copy()
