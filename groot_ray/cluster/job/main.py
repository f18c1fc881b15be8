"""`groot-ray job STAGE`: the entry point of a stage's Kubernetes Job.

The Job waits for the predecessor's manifest, claims an attempt in storage, starts the stage's Ray cluster, submits the
stage under an id that is used once, follows it, and gives the cluster back. All state is in storage and in the Ray
cluster: when a pod is killed, its successor finds the running attempt and follows it.

A waiting Job imports neither Ray nor torch and stays below 80 MB.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

from groot_ray.cluster.job.executor import StageJob
from groot_ray.cluster.job.termination import PodTerminated
from groot_ray.cluster.kube.access import inside_pod
from groot_ray.cluster.kube.settings import load_release_document, load_settings
from groot_ray.errors import ConfigurationError


def main(stage: str, document_path: Path, settings_path: Path, digest: str = "") -> int:
    """Run a stage as its Job does; returns 0. Every failure is raised with its exit code.

    Args:
        stage: name of the stage.
        document_path: the experiment document as JSON, from the release's ConfigMap.
        settings_path: the stage's settings (`StageSettings`), from the same ConfigMap.
        digest: version of the release that this pod was made for. If the ConfigMap has another, a new Job takes over.
    """
    signal.signal(signal.SIGTERM, terminate)
    settings = load_settings(settings_path, digest)
    if settings.stage != stage:
        raise ConfigurationError(f"{settings_path} is for stage {settings.stage!r}, not {stage!r}")
    document = load_release_document(document_path)
    outside = settings.mode == "external" and not os.environ.get("KUBERNETES_SERVICE_HOST")
    try:
        return StageJob(document, settings, None if outside else inside_pod()).run()
    except PodTerminated as end:
        print(f"groot-ray: {end.sentence}", file=sys.stderr, flush=True)
        raise


def terminate(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM."""
    raise PodTerminated
