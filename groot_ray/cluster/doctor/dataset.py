"""Whether the source dataset can be read and has what the embodiment needs. Only metadata is read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groot_ray import hub
from groot_ray.cluster.doctor.findings import Finding
from groot_ray.dataset.features import cameras, find_camera
from groot_ray.dataset.meta import read_info
from groot_ray.dataset.source.formats import open_source, recognize
from groot_ray.embodiment import load_embodiment
from groot_ray.errors import DataError
from groot_ray.experiment.document import Document
from groot_ray.stages.hub_files import fetch
from groot_ray.stages.sources import source_of
from groot_ray.storage import open_location


@dataclass(frozen=True)
class Recordings:
    """The metadata of a source.

    Attributes:
        where: its address, for people.
        version: LeRobot version.
        fps: frames per second.
        features: columns by name, as in info.json.
        episodes: number of episodes; None if info.json does not give it.
        hours: length of all episodes; None if only info.json was read.
    """

    where: str
    version: str
    fps: float
    features: Mapping[str, Any]
    episodes: int | None
    hours: float | None


def check_dataset(document: Document) -> Iterator[Finding]:
    """Check that the source can be read and has what the embodiment needs."""
    source = source_of(document.experiment)
    if source.location is None:
        found = recordings_of_hub(str(source.repository), source.revision)
    else:
        dataset = open_source(source.location)
        frames = sum(episode.length for episode in dataset.episodes)
        hours = frames / dataset.fps / 3600
        episodes = len(dataset.episodes)
        found = Recordings(str(source.location), dataset.version, dataset.fps, dataset.features, episodes, hours)
    size = "" if found.episodes is None else f", {found.episodes} episodes"
    size += "" if found.hours is None else f", {found.hours:.2f} h"
    yield Finding("ok", "dataset", f"{found.where}: LeRobot {found.version}{size} at {found.fps:g} Hz")
    for sentence in unfit(document, found):
        yield Finding("problem", "dataset", sentence)


def recordings_of_hub(name: str, revision: str | None) -> Recordings:
    """What a hub dataset's meta/info.json says; no other file is fetched.

    Raises:
        GrootRayError: the dataset does not exist, may not be read, or has an unknown format.
    """
    repository = hub.resolve(name, "dataset", revision)
    files = hub.list_files(repository)
    with tempfile.TemporaryDirectory(prefix="groot-ray-doctor-") as folder:
        target = open_location(Path(folder) / name)
        fetch(repository, [file for file in files if file.path == "meta/info.json"], target)
        try:
            _, version = recognize(target)
            info = read_info(target)
        except DataError as error:
            raise DataError(str(error).replace(target.uri, repository.uri)) from None
    where = f"{repository.uri} ({len(files)} files, {sum(f.size for f in files) / 1e9:.1f} GB)"
    fps, features, episodes = info.get("fps"), info.get("features"), info.get("total_episodes")
    if not isinstance(fps, int | float) or isinstance(fps, bool) or fps <= 0:
        raise DataError(f"{repository.uri}: meta/info.json gives no fps (found {fps!r})")
    return Recordings(
        where,
        version,
        float(fps),
        features if isinstance(features, dict) else {},
        episodes if isinstance(episodes, int) else None,
        None,
    )


def unfit(document: Document, found: Recordings) -> Iterator[str]:
    """Sentences about what the experiment needs and the recordings lack."""
    experiment = document.experiment
    if found.fps < experiment.conversion.fps:
        yield f"it has {found.fps:g} Hz and conversion asks for {experiment.conversion.fps:g}; lower conversion.fps"
    robot = load_embodiment(experiment.embodiment, experiment.embodiment_tag)
    for camera in robot.cameras:
        if find_camera(found.features, camera.source) is None:
            known = ", ".join(cameras(found.features)) or "none"
            yield f"camera {camera.key} needs {camera.source}, which the dataset lacks; it has {known}"
    for component in [*robot.state, *robot.action]:
        if component.column is not None and component.column not in found.features:
            known = ", ".join(found.features) or "none"
            yield f"component {component.key} needs column {component.column}, which the dataset lacks; it has {known}"
    splits = experiment.splits
    wanted = sum(n for n in (splits.train, splits.validation, splits.test) if isinstance(n, int))
    if found.episodes is not None and wanted > found.episodes:
        yield f"the splits ask for {wanted} episodes of {found.episodes}"
