"""The Ray cluster of a stage, of one of three kinds: made by KubeRay, StatefulSets of the release, or external."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from groot_ray.cluster.kube.api import Kubernetes
from groot_ray.cluster.kube.settings import StageSettings
from groot_ray.cluster.ray.external import ExternalCluster
from groot_ray.cluster.ray.jobs import RayJobs
from groot_ray.cluster.ray.kuberay import KubeRayCluster
from groot_ray.cluster.ray.static import StaticCluster


class RayCluster(Protocol):
    """Where the Ray of a stage runs."""

    def digest(self) -> str | None:
        """The version of the release that the running cluster belongs to; None if none is running."""
        ...

    def connect(self) -> RayJobs:
        """The job API of the running cluster; raises ServiceUnavailableError until it exists."""
        ...

    def start(self, check: Callable[[], None]) -> None:
        """Make the cluster if there is none, after the last pods of an earlier one have ended.

        Args:
            check: called while waiting; raises when the stage should not continue.
        """
        ...

    def waits_for(self) -> str | None:
        """Why the head has no node yet (queue, quota, full nodes), as a sentence; None if it has one or it is unknown.

        Raises:
            RefusedObjectError: it will never have one.
        """
        ...

    def suspended(self) -> bool:
        """Whether a queue keeps the cluster from running or has preempted it."""
        ...

    def stop(self) -> None:
        """Give the cluster back; its pods end by themselves."""
        ...


def ray_cluster_of(kube: Kubernetes | None, settings: StageSettings) -> RayCluster:
    """The Ray cluster that a stage's settings ask for."""
    if settings.mode == "external":
        return ExternalCluster(settings)
    assert kube is not None
    return KubeRayCluster(kube, settings) if settings.mode == "kuberay" else StaticCluster(kube, settings)


def kuberay_clusters(kube: Kubernetes | None, settings: StageSettings, names: list[str]) -> list[KubeRayCluster]:
    """RayClusters of these names, which the release may have made before its values were changed."""
    if kube is None:
        return []
    return [KubeRayCluster(kube, settings.model_copy(update={"cluster": name})) for name in names]
