"""`meta/modality.json`, in the format of NVIDIA's scripts: the columns and videos of each modality key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from groot_ray.dataset.features import PREFIX
from groot_ray.errors import DataError, did_you_mean

DEFAULT_COLUMNS = {"state": "observation.state", "action": "action"}


@dataclass(frozen=True)
class Slice:
    """Dimensions [start, end) of a parquet column."""

    column: str
    start: int
    end: int

    @property
    def dims(self) -> int:
        """Number of dimensions."""
        return self.end - self.start


@dataclass(frozen=True)
class Modality:
    """The parsed file: slices of state and action, video feature by camera key, column by annotation, masks."""

    origin: str
    state: dict[str, Slice]
    action: dict[str, Slice]
    video: dict[str, str]
    annotation: dict[str, str]
    mask: dict[str, str]

    def slice(self, part: str, key: str) -> Slice:
        """The slice of a state or action key.

        Raises:
            DataError: the file has no such key.
        """
        known = self.state if part == "state" else self.action
        if key not in known:
            raise DataError(
                f"{self.origin} has no {part} key {key!r}{did_you_mean(key, known)}; "
                f"it has {', '.join(known) or 'none'}"
            )
        return known[key]

    def video_feature(self, key: str) -> str:
        """The video feature of a camera key.

        Raises:
            DataError: the file has no such key.
        """
        if key not in self.video:
            raise DataError(
                f"{self.origin} has no video key {key!r}{did_you_mean(key, self.video)}; "
                f"it has {', '.join(self.video) or 'none'}"
            )
        return self.video[key]

    def mask_feature(self, key: str) -> str:
        """The mask feature of a mask key.

        Raises:
            DataError: the file has no such key.
        """
        if key not in self.mask:
            known = ", ".join(self.mask) or "none"
            raise DataError(f"{self.origin} has no mask key {key!r}{did_you_mean(key, self.mask)}; it has {known}")
        return self.mask[key]

    def language_column(self, key: str) -> str:
        """The column of task numbers of a language key ``annotation.<name>``.

        Raises:
            DataError: the file has no such annotation.
        """
        name = key.removeprefix("annotation.")
        if name not in self.annotation:
            raise DataError(
                f"{self.origin} has no annotation {name!r}{did_you_mean(name, self.annotation)}; "
                f"it has {', '.join(self.annotation) or 'none'}"
            )
        return self.annotation[name]


def parse_modality(content: Any, origin: str) -> Modality:
    """Parse the content of modality.json; a key without ``original_key`` has the reference's default column.

    Raises:
        DataError: the content is malformed; the message names the key.
    """
    if not isinstance(content, Mapping):
        raise DataError(f"{origin} is not a JSON object")
    parts = {name: _mapping(content, name, origin) for name in ("state", "action", "video", "annotation", "mask")}
    return Modality(
        origin,
        {key: _slice(key, entry, "state", origin) for key, entry in parts["state"].items()},
        {key: _slice(key, entry, "action", origin) for key, entry in parts["action"].items()},
        {key: str((entry or {}).get("original_key") or PREFIX + key) for key, entry in parts["video"].items()},
        {
            key: str((entry or {}).get("original_key") or f"annotation.{key}")
            for key, entry in parts["annotation"].items()
        },
        {key: str((entry or {}).get("original_key") or key) for key, entry in parts["mask"].items()},
    )


def _mapping(content: Mapping[str, Any], name: str, origin: str) -> Mapping[str, Any]:
    part = content.get(name) or {}
    if not isinstance(part, Mapping) or not all(entry is None or isinstance(entry, Mapping) for entry in part.values()):
        raise DataError(f"{origin}: {name!r} must be an object of objects")
    return part


def _slice(key: str, entry: Mapping[str, Any] | None, part: str, origin: str) -> Slice:
    start, end = (entry or {}).get("start"), (entry or {}).get("end")
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end:
        raise DataError(f"{origin}: {part} {key!r} needs numbers start < end, found start {start!r} and end {end!r}")
    return Slice(str((entry or {}).get("original_key") or DEFAULT_COLUMNS[part]), start, end)
