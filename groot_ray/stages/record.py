"""Writes the records of a result: its manifest, its provenance, and `current.json`."""

from __future__ import annotations

import platform
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from groot_ray import __version__
from groot_ray.differences import differences
from groot_ray.stages.base import Made, Stage
from groot_ray.stages.place import Place
from groot_ray.stages.work import Work
from groot_ray.storage import Location, NotFoundError
from groot_ray.storage.lease import Attempt, this_process
from groot_ray.storage.manifest import Manifest, commit_manifest, read_manifest, write_files

CURRENT = "current.json"
PROVENANCE = "provenance.json"
LIBRARIES = ("ray", "torch", "transformers", "numpy", "pyarrow", "av")
FEW = 4  # number of changed options that are named


def commit(work: Work, stage: Stage, place: Place, attempt: Attempt, made: Made) -> Manifest:
    """Write the list of files, then the manifest, if the attempt still holds its lease."""
    attempt.check()
    files_hash = write_files(place.folder, made.files, place.proof)
    manifest = Manifest(
        stage=stage.name,
        key=place.key,
        generation=place.generation,
        version=__version__,
        made=made.summary,
        inputs=stage.inputs(work),
        options=stage.options(work),
        files=len(made.files),
        size=sum(file.size for file in made.files),
        files_hash=files_hash,
    )
    attempt.check()
    commit_manifest(place.folder, manifest, place.proof)
    return manifest


def write_provenance(work: Work, place: Place, attempt: Attempt, made: Made, begun: float) -> None:
    """Write when (`begun`, Unix seconds), where, for how long and with which versions a result was written."""
    (place.folder / PROVENANCE).write_json(
        {
            "attempt": attempt.number,
            "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begun)),
            "seconds": round(time.time() - begun, 1),
            "process": this_process(),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "versions": library_versions(),
            **made.provenance,
            "experiment": work.experiment.model_dump(mode="json"),
        }
    )


def library_versions() -> dict[str, str]:
    """Versions of this package and of the libraries that results depend on."""
    found = {"groot-ray": __version__}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def point_at(work: Work, place: Place) -> None:
    """Name a result in `current.json`, which tells users where the newest results are; no stage reads it."""
    current = read_current(work.root)
    current[place.stage] = {"folder": f"{place.stage}/{place.name}", "proof": place.proof}
    (work.root / CURRENT).write_json(current)


def read_current(root: Location) -> dict[str, Any]:
    """Content of an experiment's `current.json`; empty if there is none."""
    try:
        found = (root / CURRENT).read_json()
    except NotFoundError:
        return {}
    return found if isinstance(found, dict) else {}


def reason(work: Work, stage: Stage, place: Place) -> str:
    """Why a stage runs, compared with its newest result: empty, `, again`, or the options that changed."""
    hint = read_current(work.root).get(stage.name)
    before = read_manifest(work.root / hint["folder"], hint["proof"]) if hint else None
    if before is None:
        return ""
    if before.key == place.key:
        return ", again" if place.generation != before.generation else ""
    names = [found.name for found in differences(before.inputs, stage.inputs(work))]
    names += [found.name for found in differences(before.options, stage.options(work))]
    return f", because {', '.join(names[:FEW])} changed" if names else ""
