"""Where a document's source dataset is: a folder, S3, or a hub repository."""

from __future__ import annotations

from dataclasses import dataclass

from groot_ray.errors import ConfigurationError
from groot_ray.experiment.schema import Experiment
from groot_ray.hub import hub_name
from groot_ray.storage import Location, open_location


@dataclass(frozen=True)
class Source:
    """A source as the document names it: either a location or a hub repository."""

    location: Location | None
    repository: str | None
    revision: str | None
    episodes: tuple[int, ...] | None

    @property
    def uri(self) -> str:
        """Its name, for messages."""
        return self.location.uri if self.location is not None else f"hf://datasets/{self.repository}"

    def wants(self, path: str) -> bool:
        """Whether the file is needed; files that belong only to episodes that the document leaves out are not."""
        if self.episodes is None:
            return True
        from groot_ray.dataset.source.formats import episode_of

        episode = episode_of(path)
        return episode is None or episode in self.episodes


def source_of(experiment: Experiment) -> Source:
    """The source of a document.

    Raises:
        ConfigurationError: the URI has an unknown form, a local folder does not exist, or a revision is given for a
            source without revisions.
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
