"""Where a document's source dataset is: a folder, S3, or a repository of the hub."""

from __future__ import annotations

import re
from dataclasses import dataclass

from groot_ray.errors import ConfigurationError
from groot_ray.experiment.schema import Experiment
from groot_ray.stages.hub import hub_name
from groot_ray.storage import Location, open_location


class SourceGoneError(ConfigurationError):
    """The source's folder is not on this machine."""


_EPISODE = re.compile(r"(?:^|/)episode_(\d+)\.\w+$")


@dataclass(frozen=True)
class Source:
    """A source as the document names it: either a location or a repository of the hub."""

    location: Location | None
    repository: str | None
    revision: str | None
    episodes: tuple[int, ...] | None

    @property
    def uri(self) -> str:
        """The name of it, for people."""
        return self.location.uri if self.location is not None else f"hf://datasets/{self.repository}"

    def wants(self, path: str) -> bool:
        """Whether a file belongs to the episodes that are asked for (meta data always does)."""
        found = _EPISODE.search(path)
        return self.episodes is None or found is None or int(found.group(1)) in self.episodes


def source_of(experiment: Experiment) -> Source:
    """The source of a document.

    Raises:
        ConfigurationError: the URI is neither, or a revision is given for what has none.
        SourceGoneError: a local folder does not exist.
    """
    given = experiment.source
    episodes = None if given.episodes is None else tuple(given.episodes)
    name = hub_name(given.uri)
    if name is not None:
        return Source(None, name, given.revision, episodes)
    if given.revision is not None:
        raise ConfigurationError(
            f"source.revision is for datasets of the hub, but the source is {given.uri!r}; leave it out"
        )
    location = open_location(given.uri, experiment.storage.endpoint, experiment.storage.region)
    if location.is_local and not location.path.is_dir():
        raise ConfigurationError(
            f"the source folder {location.uri} does not exist; correct source.uri (hf://org/name for the hub)"
        )
    return Source(location, None, None, episodes)


def storage_root(experiment: Experiment) -> Location:
    """The folder of an experiment in its storage."""
    return (
        open_location(experiment.storage.uri, experiment.storage.endpoint, experiment.storage.region) / experiment.name
    )
