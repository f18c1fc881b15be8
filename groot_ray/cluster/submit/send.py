"""`groot-ray submit`: sends an experiment, the working directory and the environment to a Ray cluster.

The cluster needs an image or environment with groot-ray; the working directory is sent for the user's own code.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from groot_ray.cluster.ray.connect import submit_patiently
from groot_ray.cluster.ray.document import DOCUMENT, check_workers, document_variable
from groot_ray.cluster.ray.jobs import RayJobs
from groot_ray.cluster.submit.environment import environment_to_send, ray_token
from groot_ray.cluster.submit.follow import follow_submission
from groot_ray.cluster.submit.package import pack
from groot_ray.cluster.submit.submissions import Submission, record
from groot_ray.errors import ConfigurationError, ServiceUnavailableError
from groot_ray.experiment.document import Document, load_document
from groot_ray.experiment.render import render_document
from groot_ray.experiment.stages import check_stage_names
from groot_ray.stages.place import experiment_location
from groot_ray.storage.check import check_storage
from groot_ray.storage.client import has_credentials
from groot_ray.storage.location import Location

log = logging.getLogger(__name__)

SUBMITTING = 30.0  # seconds for which a submission is tried


def submit(
    path: Path,
    address: str,
    *,
    stages: list[str] | None = None,
    overrides: dict[str, Any] | None = None,
    env: Iterable[str] = (),
    secrets: bool = False,
    excludes: Iterable[str] = (),
    working_dir: Path | None = None,
    follow: bool = True,
) -> str:
    """Send an experiment to a Ray cluster and follow it; returns the submission's id.

    Args:
        path: experiment file.
        address: http address of the Ray dashboard, such as http://localhost:8265 through kubectl port-forward.
        stages: run these stages only.
        overrides: values over those of the file, by dotted key.
        env: variables for the job, as NAME or NAME=VALUE.
        secrets: send this environment's secrets too.
        excludes: patterns of files in the working directory that are not sent.
        working_dir: folder to send; default the experiment file's.
        follow: print the log until the end.

    Raises:
        ConfigurationError: the document, the address or the token is wrong.
        GrootRayError: what was submitted failed, with its exit code.
    """
    document = load_document(path, overrides)
    stages = stages or None
    check_stage_names(stages or [])
    check_workers(document, stages)
    root = storage_from_here(document)
    jobs = RayJobs(address, ray_token())
    jobs.ray_version()
    folder = working_dir or path.resolve().parent
    package, data = pack(folder.resolve(), excludes)
    jobs.upload(package, data)
    submission = _submit(jobs, document, stages, environment_to_send(env, secrets), package)
    print(f"submitted {submission} ({len(data) / 2**20:.1f} MiB of {working_dir or path.parent})", flush=True)
    if root is not None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        record(root, Submission(submission, jobs.address, now, stages or None))
    if follow:
        follow_submission(jobs, submission, root)
    return submission


def _submit(
    jobs: RayJobs, document: Document, stages: list[str] | None, environment: dict[str, str], package: str
) -> str:
    """Submit the stages of a document in an uploaded working directory; returns the submission's id."""
    submission = f"{document.experiment.name}-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    rendered = {key: value for key, value in render_document(document).items() if key == "experiment"}
    variables = {
        **environment,
        DOCUMENT: document_variable(json.dumps(rendered)),
        "GROOT_RAY_SUBMISSION": submission,
    }
    entrypoint = f"python -m groot_ray.cluster.ray.remote {' '.join(stages or ['all'])}"
    try:
        submit_patiently(jobs, submission, entrypoint, variables, SUBMITTING, working_dir=f"gcs://{package}")
    except ServiceUnavailableError as error:
        raise ServiceUnavailableError(f"{error}; if Ray took the submission nevertheless, it is {submission}") from None
    return submission


def storage_from_here(document: Document) -> Location | None:
    """The experiment's folder, if this machine can use it; None and a warning if perhaps only the cluster can.

    Raises:
        ConfigurationError: the storage refuses: a missing bucket, a wrong secret, a missing right.
    """
    root = experiment_location(document.experiment)
    if root.is_local:
        log.warning(
            "experiment.storage.uri is the folder %s; the Ray cluster must see the same folder",
            document.experiment.storage.uri,
        )
    trouble = None if root.is_local or has_credentials() else "this machine has no credentials for object storage"
    try:
        if trouble is None:
            check_storage(root)
    except ServiceUnavailableError as error:
        trouble = str(error)
    except ConfigurationError as error:
        if not root.is_local:
            raise
        trouble = str(error)
    if trouble is None:
        return root
    log.warning("%s: groot-ray status, logs and stop will not find this submission from here", trouble)
    return None
