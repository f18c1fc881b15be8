"""Remove everything of a release but its storage: what the chart's pre-delete hook runs.

Helm removes what its last revision named; this also removes what a failed upgrade left behind (Jobs and StatefulSets of older revisions,
whose names differ) and waits until the Ray clusters are gone. Everything is found by the release's label, nothing else is touched.

usage: python -m groot_ray.cluster.cleanup RELEASE NAMESPACE
"""

from __future__ import annotations

import logging
import sys
import time

from groot_ray.cluster.api import ApiError, Kubernetes, inside_pod
from groot_ray.errors import ConfigurationError, GrootRayError

log = logging.getLogger(__name__)

# Jobs first, so that none of them makes a Ray cluster again.
KINDS = (
    ("/apis/batch/v1", "jobs", "Foreground"),
    ("/apis/ray.io/v1", "rayclusters", "Background"),
    ("/apis/apps/v1", "statefulsets", "Background"),
    ("/api/v1", "services", "Background"),
    ("/api/v1", "configmaps", "Background"),
)


def clean(kube: Kubernetes, release: str, namespace: str, patience: float = 240.0) -> int:
    """Delete the objects of a release and wait until its pods are gone; returns how many objects were deleted."""
    removed = 0
    for group, kind, policy in KINDS:
        path = f"{group}/namespaces/{namespace}/{kind}"
        for name in _names(kube, path, release):
            log.info("removing %s %s", kind, name)
            kube.delete(f"{path}/{name}", policy)
            removed += 1
        if kind == "jobs":
            _wait(kube, release, namespace, "job", patience)
    _wait(kube, release, namespace, "ray", patience)
    return removed


def _names(kube: Kubernetes, path: str, release: str) -> list[str]:
    try:
        found = kube.items(path, labelSelector=f"groot-ray/release={release},groot-ray/keep!=true")
    except ApiError as error:
        if error.status == 404:  # no KubeRay in this cluster
            return []
        raise
    return [item["metadata"]["name"] for item in found]


def _wait(kube: Kubernetes, release: str, namespace: str, component: str, patience: float) -> None:
    end = time.monotonic() + patience
    selector = f"groot-ray/release={release},groot-ray/component={component}"
    while time.monotonic() < end:
        pods = kube.items(f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector)
        if not [pod for pod in pods if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")]:
            return
        time.sleep(1)
    log.warning("some %s pods are still going; Kubernetes removes them after their grace period", component)


def main(arguments: list[str]) -> int:
    """Run the hook; returns the exit code."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    try:
        if len(arguments) != 2:
            raise ConfigurationError("usage: python -m groot_ray.cluster.cleanup RELEASE NAMESPACE")
        removed = clean(inside_pod(), *arguments)
    except GrootRayError as error:
        print(f"groot-ray: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{removed} objects removed; what the experiment made stays in storage")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
