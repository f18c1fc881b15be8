"""The Ray clusters of a stage: its own, and those that earlier versions of the release left."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from groot_ray.cluster.job.next_action import ClusterView
from groot_ray.cluster.kube.api import Kubernetes, RefusedObjectError
from groot_ray.cluster.kube.settings import StageSettings
from groot_ray.cluster.ray.cluster import RayCluster, kuberay_clusters, ray_cluster_of
from groot_ray.errors import GrootRayError, ServiceUnavailableError

log = logging.getLogger(__name__)


class StageClusters:
    """The Ray clusters of one stage.

    Attributes:
        current: the stage's own.
        former: those that this stage may have had under another cluster.ray.mode.
        left: those of stages that are no longer enabled.
    """

    def __init__(self, kube: Kubernetes | None, settings: StageSettings) -> None:
        self.settings = settings
        self.current: RayCluster = ray_cluster_of(kube, settings)
        self.former = kuberay_clusters(kube, settings, settings.former)
        self.left = kuberay_clusters(kube, settings, settings.left)

    def observe(self, attempt_is_open: bool) -> ClusterView:
        """Look at the clusters; at the head's pod only if an attempt is open, which may have no driver without it."""
        try:
            digest, waits_for, refused = self.current.digest(), None, ""
            if attempt_is_open and digest is not None:
                try:
                    waits_for = self.current.waits_for()
                except RefusedObjectError as error:
                    refused = str(error)
            outdated = bool(self._outdated([self.current, *self.former]))
            return ClusterView(digest, waits_for, refused, outdated, bool(self._outdated(self.left)))
        except ServiceUnavailableError as error:
            return ClusterView(trouble=str(error))

    def is_suspended(self) -> bool:
        """Whether a queue keeps the stage's Ray cluster from running, if Kubernetes can be asked now."""
        try:
            return self.current.suspended()
        except GrootRayError:
            return False

    def remove_outdated(self) -> None:
        """Remove what earlier versions of this release left running."""
        for cluster in self._outdated([self.current, *self.former, *self.left]):
            log.info("removing a Ray cluster of an earlier version of this release")
            cluster.stop()

    def stop(self) -> None:
        """Give back the stage's Ray cluster, under whatever mode it was made."""
        for cluster in (self.current, *self.former):
            cluster.stop()

    def give_back(self) -> None:
        """Remove the stage's cluster and what earlier versions left.

        A failure is only logged: owner references remove everything with the release.
        """
        try:
            self.current.stop()
            self.remove_outdated()
        except ServiceUnavailableError as error:
            log.warning("the Ray cluster could not be removed: %s", error)

    def _outdated(self, clusters: Sequence[RayCluster]) -> list[RayCluster]:
        """Those that run and belong to an earlier version of this release."""
        return [cluster for cluster in clusters if cluster.digest() not in (None, self.settings.digest)]
