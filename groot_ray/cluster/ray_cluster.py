"""The Ray cluster of a stage, in three kinds: made by KubeRay, scaled StatefulSets, or one that exists.

Each kind answers the same three calls: `start` makes it run and tells where it is, `is_ours` whether it belongs to this version of the
release, and `stop` gives everything back.
"""

from __future__ import annotations

import base64
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from groot_ray.cluster.api import Kubernetes
from groot_ray.cluster.ray_api import RayJobs
from groot_ray.cluster.settings import StageSettings
from groot_ray.errors import ConfigurationError, ServiceUnavailableError, TemporaryFailureError

log = logging.getLogger(__name__)

Alive = Callable[[], None]  # called while waiting; raises when there is no sense in going on


class RayPlace(Protocol):
    """Where a stage's Ray runs."""

    def digest(self) -> str | None:
        """Which version of the release the running cluster belongs to; None when none runs."""
        ...

    def connect(self) -> RayJobs:
        """The job API of the running cluster; raises ServiceUnavailableError while it is not there yet."""
        ...

    def start(self, alive: Alive) -> None:
        """Make the cluster if there is none; waits for the last pods of an earlier one."""
        ...

    def stop(self) -> None:
        """Give the cluster back; its pods end by themselves."""
        ...


@dataclass
class KubeRayPlace:
    """A RayCluster that the Job creates and deletes; the release's ConfigMap owns it, so that it goes with the release."""

    kube: Kubernetes
    told: StageSettings

    @property
    def path(self) -> str:
        return f"/apis/ray.io/v1/namespaces/{self.told.namespace}/rayclusters"

    def digest(self) -> str | None:
        found = self.kube.find(f"{self.path}/{self.told.cluster}")
        if found is None or found["metadata"].get("deletionTimestamp"):
            return None
        return found["metadata"].get("labels", {}).get("groot-ray/digest", "")

    def start(self, alive: Alive) -> None:
        owner = self.kube.find(f"/api/v1/namespaces/{self.told.namespace}/configmaps/{self.told.owner}")
        if owner is None or owner["metadata"].get("deletionTimestamp"):
            raise TemporaryFailureError(f"release {self.told.instance} is being removed; no Ray cluster is made")
        if self.digest() is None:
            self._wait_until_gone(alive)
        manifest = dict(self.told.manifest)
        manifest["metadata"] = {
            **manifest["metadata"],
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "name": self.told.owner,
                    "uid": owner["metadata"]["uid"],
                    "blockOwnerDeletion": False,
                }
            ],
        }
        if self.kube.create(self.path, manifest):
            log.info("created RayCluster %s", self.told.cluster)

    def connect(self) -> RayJobs:
        secret = self.kube.find(f"/api/v1/namespaces/{self.told.namespace}/secrets/{self.told.cluster}")
        token = (secret or {}).get("data", {}).get("auth_token")
        if not token:
            raise ServiceUnavailableError(f"KubeRay has made no token for RayCluster {self.told.cluster} yet")
        address = f"http://{self.told.cluster}-head-svc.{self.told.namespace}:8265"
        return RayJobs(address, base64.b64decode(token).decode().strip())

    def stop(self) -> None:
        if self.digest() is not None:
            log.info("deleting RayCluster %s", self.told.cluster)
            self.kube.delete(f"{self.path}/{self.told.cluster}")

    def _wait_until_gone(self, alive: Alive) -> None:
        """Wait for pods and token of an earlier cluster of this name: KubeRay would take them for the new one's."""
        secret = f"/api/v1/namespaces/{self.told.namespace}/secrets/{self.told.cluster}"
        while self.kube.find(secret) is not None or ray_pods(self.kube, self.told):
            alive()
            time.sleep(1)


@dataclass
class StaticPlace:
    """StatefulSets of the release, scaled through the scale subresource alone."""

    kube: Kubernetes
    told: StageSettings

    def digest(self) -> str | None:
        return self.told.digest if self._replicas("head") else None

    def start(self, alive: Alive) -> None:
        for group, replicas in self.told.replicas.items():
            if replicas and self._replicas(group) != replicas:
                self._scale(group, replicas)

    def connect(self) -> RayJobs:
        return RayJobs(f"http://{self.told.cluster}-head.{self.told.namespace}:8265", os.environ.get("RAY_AUTH_TOKEN"))

    def stop(self) -> None:
        for group, replicas in self.told.replicas.items():
            if replicas and self._replicas(group):
                self._scale(group, 0)

    def _path(self, group: str) -> str:
        return f"/apis/apps/v1/namespaces/{self.told.namespace}/statefulsets/{self.told.cluster}-{group}/scale"

    def _replicas(self, group: str) -> int:
        found = self.kube.find(self._path(group))
        if found is None:
            raise TemporaryFailureError(
                f"StatefulSet {self.told.cluster}-{group} is gone: the release was changed or removed"
            )
        return int(found["spec"].get("replicas") or 0)

    def _scale(self, group: str, replicas: int) -> None:
        log.info("scaling StatefulSet %s-%s to %d", self.told.cluster, group, replicas)
        self.kube.patch(self._path(group), {"spec": {"replicas": replicas}})


@dataclass
class ExternalPlace:
    """A Ray cluster that exists; nothing is made and nothing removed."""

    told: StageSettings

    def digest(self) -> str | None:
        return self.told.digest

    def start(self, alive: Alive) -> None:
        return

    def connect(self) -> RayJobs:
        return RayJobs(self.told.address, os.environ.get("RAY_AUTH_TOKEN"))

    def stop(self) -> None:
        return


def place_of(kube: Kubernetes | None, told: StageSettings) -> RayPlace:
    """The kind of cluster that the settings ask for."""
    if told.mode == "external":
        return ExternalPlace(told)
    assert kube is not None
    return KubeRayPlace(kube, told) if told.mode == "kuberay" else StaticPlace(kube, told)


def ray_pods(kube: Kubernetes, told: StageSettings) -> list[dict[str, Any]]:
    """Ray pods of the stage that have not ended."""
    selector = f"groot-ray/release={told.release},groot-ray/stage={told.stage},groot-ray/component=ray"
    pods = kube.items(f"/api/v1/namespaces/{told.namespace}/pods", labelSelector=selector)
    return [pod for pod in pods if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")]


def wait_for_ray(place: RayPlace, seconds: float, expected_version: str, alive: Alive) -> RayJobs:
    """Wait until the head answers, and check that its Ray is ours.

    Raises:
        TemporaryFailureError: no answer within `seconds`.
        ConfigurationError: the cluster runs another Ray than this image.
    """
    end, told, trouble = time.monotonic() + seconds, 0.0, ""
    while time.monotonic() < end:
        alive()
        try:
            jobs = place.connect()
            version = jobs.ray_version()
        except ServiceUnavailableError as error:
            trouble = str(error)
            if time.monotonic() - told > 30:
                told = time.monotonic()
                log.info("waiting for the Ray head: %s", trouble)
            time.sleep(2)
            continue
        if expected_version and version != expected_version:
            raise ConfigurationError(
                f"the Ray cluster runs Ray {version} and this image Ray {expected_version}; build both images from one lock (make images)"
            )
        return jobs
    raise TemporaryFailureError(f"the Ray head did not answer within {seconds:.0f} s: {trouble}")


def submit_patiently(
    jobs: RayJobs, submission: str, entrypoint: str, environment: dict[str, str], seconds: float, alive: Alive
) -> None:
    """Submit to a head that has just begun to answer: its agent may still be starting, or an answer be lost.

    Raises:
        ServiceUnavailableError: it does not take the submission within `seconds`.
    """
    end = time.monotonic() + seconds
    tries = 0
    while True:
        alive()
        tries += 1
        try:
            jobs.submit(submission, entrypoint, environment)
            return
        except ServiceUnavailableError:
            if time.monotonic() > end:
                raise
        except TemporaryFailureError:  # the id is known: by a try whose answer was lost?
            if tries == 1 or jobs.state(submission) is None:
                raise
            return
        time.sleep(2)
