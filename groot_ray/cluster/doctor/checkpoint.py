"""Whether the base model exists and the robot fits its limits. Weights are not read."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from groot_ray import hub
from groot_ray.cluster.doctor.findings import Finding
from groot_ray.embodiment import load_embodiment
from groot_ray.errors import ConfigurationError, DataError
from groot_ray.experiment.agreement import model_limits
from groot_ray.experiment.document import Document
from groot_ray.model.family import Limits, family_of
from groot_ray.stages.hub_files import fetch
from groot_ray.storage import Location, NotFoundError, open_location


def check_checkpoint(document: Document) -> Iterator[Finding]:
    """Check that the base model exists and that the robot's dims fit its limits."""
    experiment = document.experiment
    if experiment.model.base is None:
        limits = model_limits(experiment.model)
        yield Finding("ok", "checkpoint", f"fresh weights of size {experiment.model.size}")
    else:
        where, config = base_model(document, experiment.model.base)
        limits = limits_of(config)
        yield Finding("ok", "checkpoint", f"{where}: {config.get('model_type', 'a checkpoint')}")
    robot = load_embodiment(experiment.embodiment, experiment.embodiment_tag)
    for what, dims, most in (
        ("state", robot.state_dim, limits.state_dim),
        ("action", robot.action_dim, limits.action_dim),
    ):
        if dims > most:
            yield Finding("problem", "checkpoint", f"the robot has {dims} {what} dims and the checkpoint takes {most}")


def limits_of(config: dict[str, Any]) -> Limits:
    """The limits that the content of a config.json states, as its model family reads it.

    Raises:
        GrootRayError: no family has its model_type, or a value is invalid.
    """
    family = family_of(config)
    with tempfile.TemporaryDirectory(prefix="groot-ray-doctor-") as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        limits = family.read_config(Path(folder)).limits
    for name, value in (("state", limits.state_dim), ("action", limits.action_dim)):
        if not isinstance(value, int | float):
            raise DataError(f"the checkpoint's config.json gives max_{name}_dim as {value!r}, which is not a number")
    return limits


def base_model(document: Document, base: str) -> tuple[str, dict[str, Any]]:
    """Address and config.json of a base model in a folder, in S3 or on the hub.

    Raises:
        GrootRayError: it does not exist, may not be read, or is not a checkpoint.
    """
    with tempfile.TemporaryDirectory(prefix="groot-ray-doctor-") as folder:
        where, location = _locate(document, base, Path(folder))
        try:
            config = (location / "config.json").read_json()
        except NotFoundError:
            raise ConfigurationError(
                f"the base model {where} is not a checkpoint: it has no config.json; correct model.base"
            ) from None
    if not isinstance(config, dict):
        raise DataError(f"{where}/config.json is not a JSON object")
    return where, config


def _locate(document: Document, base: str, folder: Path) -> tuple[str, Location]:
    """Address of a base model, and where its config.json is; that of a hub model is fetched to `folder`."""
    storage = document.experiment.storage
    name = hub.hub_name(base)
    if name is None:
        location = open_location(base, storage.endpoint, storage.region)
        if location.is_local and not location.path.is_dir():
            where = location.uri
            raise ConfigurationError(
                f"the folder {where} does not exist; correct model.base (hf://org/name for the hub)"
            )
        return location.uri, location
    repository = hub.resolve(name, "model", document.experiment.model.revision)
    target = open_location(folder)
    fetch(repository, [f for f in hub.list_files(repository) if f.path == "config.json"], target)
    return repository.uri, target
