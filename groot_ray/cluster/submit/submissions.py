"""Submissions of an experiment, recorded in its storage (`submissions/ID.json`) so that any machine finds them."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass

from groot_ray.errors import ConfigurationError, GrootRayError
from groot_ray.experiment.schema import DEFAULT_STORAGE
from groot_ray.stages.address import find_folder, is_experiment_file
from groot_ray.storage.location import Location

log = logging.getLogger(__name__)

SUBMISSIONS = "submissions"


@dataclass(frozen=True)
class Submission:
    """An experiment that was sent to a Ray cluster: id, dashboard address, time (ISO, UTC), stages (None: all)."""

    id: str
    address: str
    at: str
    stages: list[str] | None = None


def record(root: Location, submission: Submission) -> None:
    """Record a submission in storage, for `status`, `logs` and `stop`. A failure only gives a warning."""
    try:
        (root / SUBMISSIONS / f"{submission.id}.json").write_json(asdict(submission))
    except GrootRayError as error:
        log.warning(
            "%s could not be recorded in storage, so status and stop will not find it: %s", submission.id, error
        )


def submissions(root: Location) -> list[Submission]:
    """The submissions of an experiment, oldest first."""
    found = []
    for entry in (root / SUBMISSIONS).list(recursive=False):
        data = entry.location.read_json()
        found.append(Submission(data["id"], data["address"], data["at"], data.get("stages")))
    return sorted(found, key=lambda item: item.at)


def root_of(target: str, endpoint: str | None = None, storage: str = DEFAULT_STORAGE) -> Location:
    """The experiment's folder in storage; `target` is a name, path, URI or experiment file, as `find_folder` takes it.

    Raises:
        ConfigurationError: the file is wrong, or the folder of a path or name is empty.
    """
    root = find_folder(target, storage, endpoint)
    if not is_experiment_file(target) and not root.has_files():
        raise ConfigurationError(
            f"{root} holds no experiment; give an experiment file, STORAGE/NAME, or a name in --storage"
        )
    return root
