"""Compares the files of a folder with their recorded sizes and sha256, so that no damaged byte is used.

Every file is read once, as a stream, in a few threads. On a local disk, files that were verified before and have kept
their stamp (inode, size, times of change) can be skipped; see `verify_in_place`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.storage.hashes import THREADS, FileRecord, hash_file
from groot_ray.storage.local import place_file
from groot_ray.storage.location import Location
from groot_ray.storage.store import NotFoundError

Kind = Literal["missing", "size", "bytes", "unreadable", "extra"]
FEW = 3  # number of damaged files that an error names

_SAYS: dict[Kind, str] = {
    "missing": "is missing",
    "size": "has another size than recorded",
    "bytes": "is damaged: its bytes do not have the recorded sha256",
    "unreadable": "cannot be read",
    "extra": "does not belong to the result",
}


@dataclass(frozen=True)
class Damage:
    """A file that is not as recorded: its path below the folder, and what is wrong with it."""

    path: str
    kind: Kind

    def __str__(self) -> str:
        return f"{self.path} {_SAYS[self.kind]}"


@dataclass(frozen=True)
class Expected:
    """What a folder must hold: its files, and what a person can do if they are damaged (ends the error's sentence)."""

    files: Sequence[FileRecord]
    advice: str

    def but(self, without: Iterable[str]) -> Expected:
        """The same without some paths."""
        left_out = set(without)
        return Expected([file for file in self.files if file.path not in left_out], self.advice)


class DamagedFilesError(DataError):
    """Files of a result are not as recorded; `damages` has all of them, the message the first few."""

    def __init__(self, folder: Location, damages: Sequence[Damage], advice: str) -> None:
        named = ", ".join(map(str, damages[:FEW]))
        more = f", and {len(damages) - FEW} more" if len(damages) > FEW else ""
        super().__init__(f"{folder.uri}: {named}{more}; {advice}")
        self.folder = folder
        self.damages = list(damages)


def find_damages(
    folder: Location, files: Sequence[FileRecord], without: Collection[str] = (), *, extra: bool = True
) -> list[Damage]:
    """Compare the files below `folder` with `files` by size, then by sha256.

    Args:
        without: paths of files that may be there but are not looked at.
        extra: also report files that are not in `files`.

    Returns:
        The damages by path. Nothing is kept in memory but one block per thread.
    """
    damages = _compare(folder, files, without, lambda file: _damage(folder, file))
    return [damage for damage in damages if extra or damage.kind != "extra"]


def check_files(folder: Location, expected: Expected, without: Collection[str] = ()) -> None:
    """Raise `DamagedFilesError` if `find_damages` finds any."""
    damages = find_damages(folder, expected.files, without)
    if damages:
        raise DamagedFilesError(folder, damages, expected.advice)


def verify_in_place(folder: Location, expected: Expected, notes: Path, without: Collection[str] = ()) -> None:
    """`check_files` for a local folder that is read often, where `notes` remembers what was verified.

    A file is read again only if its stamp has changed. A stamp changes with every write, also one that restores the
    time of modification, but not if the disk itself returns other bytes later: `find_damages` reads everything.
    If `notes` cannot be written, everything is read each time.
    """
    known = read_stamps(notes)
    verified: dict[str, list[str]] = {}

    def compare(file: FileRecord) -> Damage | None:
        path = folder.path / file.path
        before = stamp(path)
        if before is not None and known.get(file.path) == [before, file.sha256]:
            verified[file.path] = [before, file.sha256]
            return None
        damage = _damage(folder, file)
        if damage is None and before is not None and stamp(path) == before:
            verified[file.path] = [before, file.sha256]
        return damage

    damages = _compare(folder, expected.files, without, compare)
    if verified != known:
        with suppress(ConfigurationError, OSError):
            write_stamps(notes, verified)
    if damages:
        raise DamagedFilesError(folder, damages, expected.advice)


def stamp(path: Path) -> str | None:
    """Changes whenever a local file is written, replaced or renamed; None if there is no such file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}-{found.st_ctime_ns}"


def read_stamps(notes: Path) -> dict[str, list[str]]:
    """Paths with stamp and sha256, as `write_stamps` wrote them; empty if there are none, or damaged ones."""
    try:
        text = notes.read_text()
        found = json.loads(text)
        known: dict[str, list[str]] = found["files"]
        return known if found["sha256"] == _digest(known) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def write_stamps(notes: Path, stamps: dict[str, list[str]]) -> None:
    """Write stamps atomically, with their own hash."""
    text = json.dumps({"sha256": _digest(stamps), "files": stamps})
    place_file(notes, lambda partial: partial.write_text(text), create_only=False)


def _digest(stamps: dict[str, list[str]]) -> str:
    return hashlib.sha256(json.dumps(stamps, sort_keys=True).encode()).hexdigest()


def listed_damages(files: Sequence[FileRecord], sizes: Mapping[str, int]) -> list[Damage]:
    """What a listing alone shows, by path: missing and extra files, and wrong sizes."""
    damages = [Damage(path, "extra") for path in sizes.keys() - {file.path for file in files}]
    for file in files:
        if file.path not in sizes:
            damages.append(Damage(file.path, "missing"))
        elif sizes[file.path] != file.size:
            damages.append(Damage(file.path, "size"))
    return sorted(damages, key=lambda damage: damage.path)


def _compare(
    folder: Location,
    files: Sequence[FileRecord],
    without: Collection[str],
    compare: Callable[[FileRecord], Damage | None],
) -> list[Damage]:
    """Damages by listing, then by `compare` for the files whose size is right."""
    sizes = {entry.relative: entry.size for entry in folder.list() if entry.relative not in without}
    damages = listed_damages(files, sizes)
    wrong = {damage.path for damage in damages}
    with ThreadPoolExecutor(THREADS, "verify") as threads:
        found = threads.map(compare, [file for file in files if file.path not in wrong])
        damages += [damage for damage in found if damage is not None]
    return sorted(damages, key=lambda damage: damage.path)


def _damage(folder: Location, file: FileRecord) -> Damage | None:
    try:
        size, sha256 = hash_file(folder / file.path)
    except NotFoundError:
        return Damage(file.path, "missing")
    except OSError:
        return Damage(file.path, "unreadable")
    if size != file.size:
        return Damage(file.path, "size")
    return None if sha256 == file.sha256 else Damage(file.path, "bytes")
