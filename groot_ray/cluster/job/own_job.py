"""The Kubernetes Job that this process is a pod of."""

from __future__ import annotations

from typing import Any

from groot_ray.cluster.job.record import job_name
from groot_ray.cluster.kube.api import Kubernetes
from groot_ray.errors import GrootRayError


def own_job(kube: Kubernetes | None, namespace: str) -> dict[str, Any] | None:
    """This pod's Job; None outside Kubernetes, or if it cannot be read."""
    if kube is None or not job_name():
        return None
    try:
        return kube.find(f"/apis/batch/v1/namespaces/{namespace}/jobs/{job_name()}")
    except GrootRayError:
        return None


def is_last_try(kube: Kubernetes | None, namespace: str) -> bool:
    """Whether Kubernetes will make no further pod for this pod's Job."""
    job = own_job(kube, namespace)
    if job is None:
        return True
    return int(job.get("status", {}).get("failed") or 0) >= int(job["spec"].get("backoffLimit", 6))
