"""The stages by name: for each declaration of `experiment.stages`, the object `STAGE` of the module `stages.<name>`."""

from __future__ import annotations

from importlib import import_module

from groot_ray.errors import ConfigurationError
from groot_ray.experiment.document import Document
from groot_ray.experiment.stages import PIPELINE, unknown_stage
from groot_ray.stages.base import Stage
from groot_ray.stages.work import Work

STAGES: dict[str, Stage] = {
    declaration.name: import_module(f"groot_ray.stages.{declaration.name}").STAGE for declaration in PIPELINE
}


def stage_named(name: str) -> Stage:
    """The stage with this name; raises `ConfigurationError` for an unknown one."""
    if name not in STAGES:
        raise ConfigurationError(unknown_stage(name))
    return STAGES[name]


def open_work(document: Document, *, refresh: bool = False, may_pin: bool = True) -> Work:
    """The work on a document with the stages of the pipeline; see `Work`."""
    return Work(document, STAGES, refresh=refresh, may_pin=may_pin)
