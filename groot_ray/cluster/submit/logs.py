"""`groot-ray logs`: the logs of stages from storage, also after their cluster is gone."""

from __future__ import annotations

import codecs
import time
from collections.abc import Iterable, Iterator

from groot_ray.cluster.status.newest import newest_work, stage_names
from groot_ray.cluster.submit.submissions import root_of
from groot_ray.errors import ConfigurationError
from groot_ray.experiment.schema import DEFAULT_STORAGE
from groot_ray.experiment.stages import check_stage_names
from groot_ray.storage.lease import last_attempt
from groot_ray.storage.location import Location
from groot_ray.storage.logs import log_names, read_log


def logs(
    target: str,
    stage: str | None = None,
    attempt: int | None = None,
    follow: bool = False,
    endpoint: str | None = None,
    storage: str = DEFAULT_STORAGE,
) -> Iterator[str]:
    """Yield the logs of an experiment's stages from storage, piece by piece.

    Args:
        target: see `root_of`.
        stage: this stage only; default all, or with `follow` the last one.
        attempt: number of the attempt; default the newest with a log.
        follow: wait for more until the attempt ends.
    """
    check_stage_names([stage] if stage else [])
    root = root_of(target, endpoint, storage)
    names = [stage] if stage else stage_names(root)
    folders = [(name, folder) for name in names if (folder := newest_work(root, name)) is not None]
    if not folders:
        raise ConfigurationError(f"{root} has no log{f' of stage {stage}' if stage else ''} yet")
    for name, folder in folders if stage is None and not follow else folders[-1:]:
        yield from stage_log(name, folder, attempt, follow)


def stage_log(stage: str, folder: Location, attempt: int | None, follow: bool) -> Iterator[str]:
    """Yield the logs of one attempt at a stage, each under a headline."""
    printed: dict[tuple[str, str], LogReader] = {}
    while True:
        last = last_attempt(folder)
        found = log_names(folder)
        wanted = f"attempt-{attempt}" if attempt is not None else (found[-1][0] if found else None)
        for pair in [pair for pair in found if pair[0] == wanted]:
            reader = printed.setdefault(pair, LogReader(f"--- {stage}, {pair[0]}, {pair[1]}\n"))
            yield from reader.new(read_log(folder, *pair))
        if not follow or last is None or not last.alive:
            return
        time.sleep(3)


class LogReader:
    """Yields what is new in one log, each time it is read from its beginning."""

    def __init__(self, headline: str) -> None:
        self.headline = headline
        self.said = 0  # bytes
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def new(self, pieces: Iterable[bytes]) -> Iterator[str]:
        """The text that was not yielded before, after the headline the first time."""
        begun = 0
        for piece in pieces:
            skip = self.said - begun
            begun += len(piece)
            if skip >= len(piece):
                continue
            if self.said == 0:
                yield self.headline
            yield self._decode(piece[max(skip, 0) :])
            self.said = begun
