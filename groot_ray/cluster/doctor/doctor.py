"""`groot-ray doctor`: everything that can be known to go wrong, found out before anything is requested.

Here is what concerns the experiment itself; `cluster_checks` looks at Kubernetes.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groot_ray.cluster.doctor.cluster_checks import check_cluster
from groot_ray.cluster.doctor.findings import Finding, guarded
from groot_ray.cluster.kube.api import from_kubeconfig
from groot_ray.cluster.status.pipeline import check_workers, experiment_location
from groot_ray.errors import ConfigurationError, DataError, did_you_mean
from groot_ray.experiment.agreement import check_agreement
from groot_ray.experiment.cluster import ClusterOptions
from groot_ray.experiment.document import Document


def check(
    document: Document, context: str | None = None, namespace: str | None = None, cluster: bool = False
) -> list[Finding]:
    """Check an experiment: embodiment, storage, dataset, checkpoint, and, with `cluster` or a `context`, the Kubernetes cluster.

    Where it is for a cluster (these, or a `cluster:` part), also whether pods can run it.
    """
    findings: list[Finding] = []
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("embodiment", lambda: check_embodiment(document)),
        ("storage", lambda: check_rights(document)),
        ("dataset", lambda: check_dataset(document)),
        ("checkpoint", lambda: check_checkpoint(document)),
    ]
    if document.cluster is not None or cluster or context is not None:
        checks.append(("training", lambda: check_training(document)))
        checks.append(("stages", lambda: check_stages(document)))
        checks.append(("pods", lambda: check_pods(document)))
    if cluster or context is not None:
        checks.append(("cluster", lambda: check_cluster(document, from_kubeconfig(context, namespace))))
    for subject, run in checks:
        findings += guarded(subject, run)
    return findings


def check_embodiment(document: Document) -> Iterator[Finding]:
    """The description of the robot can be read and used."""
    from groot_ray.embodiment import load_embodiment

    robot = load_embodiment(document.experiment.embodiment, document.experiment.embodiment_tag)
    yield Finding(
        "ok",
        "embodiment",
        f"{robot.name} ({robot.tag}): state {robot.state_dim}, action {robot.action_dim} dims, {len(robot.cameras)} cameras",
    )
    for doubt in check_agreement(document.experiment, robot, stages_to_run(document)):
        yield Finding("warning", "evaluation", doubt)


def stages_to_run(document: Document) -> list[str]:
    """Names of the stages that a release of the document runs."""
    from groot_ray.stages import STAGES

    if document.cluster is None:
        return list(STAGES)
    return [name for name, stage in document.cluster.stages.items() if stage.enabled]


def check_training(document: Document) -> Iterator[Finding]:
    """Training can run in pods."""
    check_workers(document)
    least, most = document.experiment.training.workers
    yield Finding("ok", "training", f"{least}{f' to {most}' if most > least else ''} processes in pods")


def check_stages(document: Document) -> Iterator[Finding]:
    """The stages are those of groot-ray: the Job of another one would end with exit code 64."""
    from groot_ray.stages import STAGES

    for name, stage in (document.cluster or ClusterOptions()).stages.items():
        if name not in STAGES:
            near = did_you_mean(name, STAGES)
            sentence = f"cluster.stages.{name} is no stage of groot-ray{near}; there are {', '.join(STAGES)}"
            yield Finding("problem" if stage.enabled else "warning", "stages", sentence)


def check_pods(document: Document) -> Iterator[Finding]:
    """Pods see what the document names."""
    from groot_ray.cluster.doctor.visible import hidden_from_pods

    hidden = list(hidden_from_pods(document))
    for sentence in hidden:
        yield Finding("problem", "pods", sentence)
    if not hidden:
        yield Finding("ok", "pods", "they need no folder, file or localhost of this machine")


def check_rights(document: Document) -> Iterator[Finding]:
    """Storage does all that stages need, found out by doing it."""
    from groot_ray.storage.check import probe_storage

    root = experiment_location(document)
    done = []
    for right in probe_storage(root):
        if right.problem is not None:
            yield Finding("problem", "storage", str(right.problem))
            return
        done.append(right.name)
    yield Finding("ok", "storage", f"{root}: {', '.join(done)}")


# --- the dataset ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recordings:
    """What the meta data of a source says: `hours` is None where only its info.json was read, and `episodes` where that counts none."""

    where: str
    version: str
    fps: float
    features: Mapping[str, Any]
    episodes: int | None
    hours: float | None


def check_dataset(document: Document) -> Iterator[Finding]:
    """The source exists, can be read, and has what the embodiment asks for."""
    from groot_ray.stages.sources import source_of

    source = source_of(document.experiment)
    if source.location is None:
        found = recordings_of_hub(str(source.repository), source.revision)
    else:
        from groot_ray.dataset.source.lerobot_v2 import open_source

        dataset = open_source(source.location)
        frames = sum(episode.length for episode in dataset.episodes)
        found = Recordings(
            str(source.location), dataset.version, dataset.fps, dataset.features, len(dataset.episodes), frames / dataset.fps / 3600
        )  # fmt: skip
    counted = "" if found.episodes is None else f", {found.episodes} episodes"
    hours = "" if found.hours is None else f", {found.hours:.2f} h"
    yield Finding("ok", "dataset", f"{found.where}: LeRobot {found.version}{counted}{hours} at {found.fps:g} Hz")
    for sentence in unfit(document, found):
        yield Finding("problem", "dataset", sentence)


def recordings_of_hub(name: str, revision: str | None) -> Recordings:
    """What a hub dataset's meta/info.json says; nothing else of it is fetched.

    Raises:
        GrootRayError: there is no such dataset, it may not be read, or it is in a format that is not read.
    """
    from groot_ray.dataset.source.meta import read_info, read_version
    from groot_ray.stages import hub
    from groot_ray.storage import open_location

    repository = hub.resolve(name, "dataset", revision)
    files = hub.list_files(repository)
    with tempfile.TemporaryDirectory(prefix="groot-ray-doctor-") as folder:
        target = open_location(Path(folder) / name)
        hub.fetch(repository, [file for file in files if file.path == "meta/info.json"], target)
        try:
            info = read_info(target)
            version = read_version(target, info)
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
    """What the experiment asks for and the recordings do not have, in sentences."""
    from groot_ray.dataset.features import cameras, find_camera
    from groot_ray.embodiment import load_embodiment

    experiment = document.experiment
    if found.fps < experiment.conversion.fps:
        yield f"it has {found.fps:g} Hz and conversion asks for {experiment.conversion.fps:g}; lower conversion.fps"
    robot = load_embodiment(experiment.embodiment, experiment.embodiment_tag)
    for camera in robot.cameras:
        if find_camera(found.features, camera.source) is None:
            known = ", ".join(cameras(found.features)) or "none"
            yield f"camera {camera.key} wants {camera.source}, which the dataset lacks; it has {known}"
    for component in [*robot.state, *robot.action]:
        if component.column is not None and component.column not in found.features:
            known = ", ".join(found.features) or "none"
            yield f"component {component.key} wants column {component.column}, which the dataset lacks; it has {known}"
    splits = experiment.splits
    wanted = sum(n for n in (splits.train, splits.validation, splits.test) if isinstance(n, int))
    if found.episodes is not None and wanted > found.episodes:
        yield f"the splits ask for {wanted} episodes of {found.episodes}"


# --- the checkpoint ---------------------------------------------------------------------------------------------------------------


def check_checkpoint(document: Document) -> Iterator[Finding]:
    """The base model is there, and the robot's dims fit into it."""
    from groot_ray.embodiment import load_embodiment

    experiment = document.experiment
    if experiment.model.base is None:
        config: dict[str, Any] = {}
        yield Finding("ok", "checkpoint", f"fresh weights of size {experiment.model.size}")
    else:
        where, config = base_model(document, experiment.model.base)
        yield Finding("ok", "checkpoint", f"{where}: {config.get('model_type', 'a checkpoint')}")
    robot = load_embodiment(experiment.embodiment, experiment.embodiment_tag)
    for what, dims in (("state", robot.state_dim), ("action", robot.action_dim)):
        most = config.get(f"max_{what}_dim", 128)
        if not isinstance(most, int | float):
            raise DataError(f"the checkpoint's config.json gives max_{what}_dim as {most!r}, which is no number")
        if dims > most:
            yield Finding("problem", "checkpoint", f"the robot has {dims} {what} dims and the checkpoint takes {most}")


def base_model(document: Document, base: str) -> tuple[str, dict[str, Any]]:
    """Where a base model is, and its config.json: of a folder, of S3 or of the hub, without its weights.

    Raises:
        GrootRayError: it is not there, may not be read, or is no checkpoint.
    """
    from groot_ray.stages import hub
    from groot_ray.storage import NotFoundError, open_location

    storage = document.experiment.storage
    name = hub.hub_name(base)
    with tempfile.TemporaryDirectory(prefix="groot-ray-doctor-") as folder:
        if name is None:
            location = open_location(base, storage.endpoint, storage.region)
            where = location.uri
            if location.is_local and not location.path.is_dir():
                raise ConfigurationError(f"there is no folder {where}; correct model.base (hf://org/name for the hub)")
        else:
            repository = hub.resolve(name, "model", document.experiment.model.revision)
            where, location = repository.uri, open_location(Path(folder))
            hub.fetch(repository, [f for f in hub.list_files(repository) if f.path == "config.json"], location)
        try:
            config = json.loads((location / "config.json").read_text())
        except NotFoundError:
            raise ConfigurationError(
                f"the base model {where} is no checkpoint: it has no config.json; correct model.base"
            ) from None
        except ValueError as error:
            raise DataError(f"{where}/config.json is not valid JSON ({error})") from None
    if not isinstance(config, dict):
        raise DataError(f"{where}/config.json holds no object")
    return where, config
