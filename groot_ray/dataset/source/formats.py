"""The registry of source formats: a new format is a file beside this one and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from groot_ray.dataset.source import lerobot, lerobot_v2
from groot_ray.dataset.source.recording import Recording
from groot_ray.storage import Location


@dataclass(frozen=True)
class SourceFormat:
    """How datasets of a format are recognized and opened.

    Attributes:
        versions: the supported versions, for messages.
        recognize: the version of the dataset at a location; None if it is not of this format. Reads small files only.
        open: reads the metadata of a dataset of that version; raises `DataError` if it is broken.
        is_metadata: whether a path below the dataset is needed to open it.
        episode_of: the only episode that a path's file belongs to; None for metadata and files of several episodes.
    """

    versions: tuple[str, ...]
    recognize: Callable[[Location], str | None]
    open: Callable[[Location, str], Recording]
    is_metadata: Callable[[str], bool]
    episode_of: Callable[[str], int | None]


FORMATS: list[SourceFormat] = [
    SourceFormat(
        lerobot_v2.VERSIONS, lerobot_v2.recognize, lerobot_v2.open_v2, lerobot.is_metadata, lerobot_v2.episode_of
    ),
]


def open_source(location: Location) -> Recording:
    """Read the metadata of a dataset of robot recordings.

    Raises:
        DataError: there is no dataset, its version is not supported, or its metadata is broken or empty; the message
            says what to do.
    """
    found, version = recognize(location)
    return found.open(location, version)


def recognize(location: Location) -> tuple[SourceFormat, str]:
    """The format and version of a dataset.

    Raises:
        DataError: there is no dataset, or no format supports its version.
    """
    for known in FORMATS:
        version = known.recognize(location)
        if version is not None:
            return known, version
    raise lerobot.unreadable(location, [version for known in FORMATS for version in known.versions])


def is_metadata(path: str) -> bool:
    """Whether a file of a dataset in any format is needed to open it."""
    return any(known.is_metadata(path) for known in FORMATS)


def episode_of(path: str) -> int | None:
    """The only episode that a file of a dataset in any format belongs to; None for metadata and files of several."""
    return next((episode for known in FORMATS if (episode := known.episode_of(path)) is not None), None)
