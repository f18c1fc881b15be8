"""What a Job writes into the record of an attempt."""

from __future__ import annotations

import os

from groot_ray.cluster.kube.settings import StageSettings
from groot_ray.storage.location import Location

RELEASE = "release"  # short name of the release that claimed it
DIGEST = "digest"  # version of that release
JOB = "job"  # the Kubernetes Job that claimed it; empty outside Kubernetes
MODE = "mode"  # where its Ray cluster comes from: kuberay, static or external
SUBMISSION = "submission"  # id of its Ray job


def submission_id(settings: StageSettings, folder: Location, number: int) -> str:
    """The id of an attempt's Ray job. Ray never accepts an id twice, so each attempt has its own."""
    return f"{settings.release}-{settings.stage}-{folder.name}-{number}"


def job_name() -> str:
    """Name of this pod's Job; empty outside Kubernetes."""
    return os.environ.get("JOB_NAME", "")
