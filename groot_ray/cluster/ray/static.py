"""Ray on StatefulSets of the release, scaled through the scale subresource alone."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from groot_ray.cluster.kube.api import Kubernetes
from groot_ray.cluster.kube.settings import StageSettings
from groot_ray.cluster.ray.jobs import RayJobs
from groot_ray.cluster.ray.pods import cluster_of, head_pods, head_waits_for, ray_pods
from groot_ray.errors import TemporaryFailureError

log = logging.getLogger(__name__)


@dataclass
class StaticCluster:
    """StatefulSets for head and workers; see `RayCluster`."""

    kube: Kubernetes
    settings: StageSettings

    def digest(self) -> str | None:
        return self.settings.digest if self._replicas("head") else None

    def start(self, check: Callable[[], None]) -> None:
        while any(cluster_of(pod) != self.settings.cluster for pod in ray_pods(self.kube, self.settings)):
            check()
            time.sleep(1)
        for group, replicas in self.settings.replicas.items():
            if replicas and self._replicas(group) != replicas:
                self._scale(group, replicas)

    def waits_for(self) -> str | None:
        return head_waits_for(head_pods(self.kube, self.settings))

    def suspended(self) -> bool:
        return False

    def connect(self) -> RayJobs:
        address = f"http://{self.settings.cluster}-head.{self.settings.namespace}:8265"
        return RayJobs(address, os.environ.get("RAY_AUTH_TOKEN"))

    def stop(self) -> None:
        for group, replicas in self.settings.replicas.items():
            if replicas and self._replicas(group):
                self._scale(group, 0)

    def _path(self, group: str) -> str:
        name = f"{self.settings.cluster}-{group}"
        return f"/apis/apps/v1/namespaces/{self.settings.namespace}/statefulsets/{name}/scale"

    def _replicas(self, group: str) -> int:
        found = self.kube.find(self._path(group))
        if found is None:
            name = f"{self.settings.cluster}-{group}"
            raise TemporaryFailureError(f"StatefulSet {name} no longer exists; the release was changed or removed")
        return int(found["spec"].get("replicas") or 0)

    def _scale(self, group: str, replicas: int) -> None:
        log.info("scaling StatefulSet %s-%s to %d", self.settings.cluster, group, replicas)
        self.kube.patch(self._path(group), {"spec": {"replicas": replicas}})
