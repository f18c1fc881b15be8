"""The Ray cluster of a stage, in three kinds: made by KubeRay, scaled StatefulSets, or one that exists.

Each kind answers the same calls: `start` makes it run, `waits_for` says what its head still lacks, `connect` where it is, `digest` which
version of the release it belongs to, and `stop` gives everything back.
"""

from __future__ import annotations

import base64
import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from groot_ray.cluster.job.settings import StageSettings
from groot_ray.cluster.kube.api import Kubernetes, RefusedObjectError
from groot_ray.cluster.ray.jobs import AlreadySubmittedError, RayJobs
from groot_ray.errors import ConfigurationError, ServiceUnavailableError, TemporaryFailureError

log = logging.getLogger(__name__)

HEAD_REFUSED = (
    "FailedCreateHeadPod"  # KubeRay's reason of a condition ReplicaFailure when it could not make the head's pod
)
QUEUE = "kueue.x-k8s.io/queue-name"  # label by which Kueue knows a workload's queue
TELL, REMIND = 30.0, 300.0  # seconds between two lines about what is waited for; about the same thing
ASK, ASK_WAITING = 2.0, 5.0  # seconds between two tries to reach a head; one that still waits for its turn
Alive = Callable[[], None]  # called while waiting; raises when there is no sense in going on


# What the API server says of a pod that it will not take the next time either.
FINAL_REFUSAL = re.compile(r" is (forbidden|invalid): (?!.*(is being terminated|not yet ready))", re.DOTALL)


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

    def waits_for(self) -> str | None:
        """Why its head has no node yet (a queue, a quota, full nodes), as a sentence; None where it has one, or nobody knows.

        Raises RefusedObjectError where it will never have one.
        """
        ...

    def suspended(self) -> bool:
        """Whether a queue keeps the cluster from running, or has taken its place back."""
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

    def waits_for(self) -> str | None:
        cluster = self.kube.find(f"{self.path}/{self.told.cluster}") or {"metadata": {}, "spec": {}}
        if cluster["spec"].get("suspend"):
            queue = cluster["metadata"].get("labels", {}).get(QUEUE)
            return f"RayCluster {self.told.cluster} is suspended" + (f" until queue {queue} admits it" if queue else "")
        if heads := head_pods(self.kube, self.told):
            return place_waited_for(heads)
        refusal = head_refusal(cluster)
        if "exceeded quota" in refusal:
            return f"RayCluster {self.told.cluster} waits for quota: {refusal}"
        if FINAL_REFUSAL.search(refusal):
            raise RefusedObjectError(f"Kubernetes refuses the head's pod of RayCluster {self.told.cluster}: {refusal}")
        return None

    def suspended(self) -> bool:
        cluster = self.kube.find(f"{self.path}/{self.told.cluster}")
        return cluster is not None and bool(cluster["spec"].get("suspend"))

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
        while any(cluster_of(pod) != self.told.cluster for pod in ray_pods(self.kube, self.told)):
            alive()
            time.sleep(1)
        for group, replicas in self.told.replicas.items():
            if replicas and self._replicas(group) != replicas:
                self._scale(group, replicas)

    def waits_for(self) -> str | None:
        return place_waited_for(head_pods(self.kube, self.told))

    def suspended(self) -> bool:
        return False

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

    def waits_for(self) -> str | None:
        return None

    def suspended(self) -> bool:
        return False

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


def raycluster_places(kube: Kubernetes | None, told: StageSettings, names: list[str]) -> list[KubeRayPlace]:
    """The RayClusters of these names, which the release may have made before its values were changed."""
    return [] if kube is None else [KubeRayPlace(kube, told.model_copy(update={"cluster": name})) for name in names]


def head_refusal(cluster: dict[str, Any]) -> str:
    """Why KubeRay could not make the head's pod of a RayCluster; empty where it could. Workers are Ray's matter."""
    for condition in cluster.get("status", {}).get("conditions", []):
        if condition.get("status") == "True" and condition.get("reason") == HEAD_REFUSED:
            words = str(condition.get("message", "")).split()
            return " ".join(words[1:] if words[:1] == [HEAD_REFUSED] else words)
    return ""


def ray_pods(kube: Kubernetes, told: StageSettings) -> list[dict[str, Any]]:
    """Ray pods of the stage that have not ended."""
    selector = f"groot-ray/release={told.release},groot-ray/stage={told.stage},groot-ray/component=ray"
    pods = kube.items(f"/api/v1/namespaces/{told.namespace}/pods", labelSelector=selector)
    return [pod for pod in pods if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")]


def cluster_of(pod: dict[str, Any]) -> str:
    """Which cluster of a release with StatefulSets a Ray pod belongs to; empty for pods of a RayCluster."""
    return pod["metadata"].get("labels", {}).get("groot-ray/cluster", "")


def head_pods(kube: Kubernetes, told: StageSettings) -> list[dict[str, Any]]:
    """Pods of the stage's head that have not ended."""
    return [pod for pod in ray_pods(kube, told) if pod["metadata"].get("labels", {}).get("groot-ray/group") == "head"]


def place_waited_for(heads: list[dict[str, Any]]) -> str | None:
    """Why no node has been found for the head's pods; None where one was, or where there is no such pod yet."""
    if not heads or any(pod["spec"].get("nodeName") for pod in heads):
        return None
    name = heads[0]["metadata"]["name"]
    for condition in heads[0].get("status", {}).get("conditions", []):
        if condition.get("type") == "PodScheduled" and condition.get("status") != "True":
            return f"the head's pod {name} waits for a node: {condition.get('message') or condition.get('reason')}"
    return f"the head's pod {name} waits for a node"


def wait_for_ray(place: RayPlace, seconds: float, expected_version: str, alive: Alive) -> RayJobs:
    """Wait until the head answers, and check that its Ray is ours.

    The `seconds` count from when the head has a node: before, it waits for its turn, however long that takes.

    Raises:
        TemporaryFailureError: no answer within `seconds`.
        ConfigurationError: the cluster runs another Ray than this image.
    """
    end, told_at, told = time.monotonic() + seconds, float("-inf"), ""
    while True:
        alive()
        try:
            jobs = place.connect()
            version = jobs.ray_version()
        except ServiceUnavailableError as error:
            trouble = f"waiting for the Ray head: {error}"
        else:
            if expected_version and version != expected_version:
                raise ConfigurationError(
                    f"the Ray cluster runs Ray {version} and this image Ray {expected_version}; build both images from one lock (make images)"
                )
            return jobs
        turn = _turn(place)
        if turn is not None:
            end, trouble = time.monotonic() + seconds, turn
        elif time.monotonic() >= end:
            raise TemporaryFailureError(f"the Ray head did not answer within {seconds:.0f} s ({trouble})")
        if time.monotonic() - told_at > (REMIND if trouble == told else TELL):
            told, told_at = trouble, time.monotonic()
            log.info("%s", trouble)
        time.sleep(ASK if turn is None else ASK_WAITING)


def _turn(place: RayPlace) -> str | None:
    """What the head waits for, as far as Kubernetes can be asked now."""
    try:
        return place.waits_for()
    except ServiceUnavailableError:
        return None


def submit_patiently(
    jobs: RayJobs,
    submission: str,
    entrypoint: str,
    environment: dict[str, str],
    seconds: float,
    alive: Alive = lambda: None,
    **runtime: Any,
) -> None:
    """Submit to a head that may have just begun to answer, or whose answer may be lost: under one id, so that it is started once.

    Raises:
        AlreadySubmittedError: the id was used before.
        ConfigurationError: Ray refuses the submission for good.
        ServiceUnavailableError: it does not take the submission within `seconds`.
    """
    end = time.monotonic() + seconds
    asked_before = False
    while True:
        alive()
        try:
            jobs.submit(submission, entrypoint, environment, **runtime)
            return
        except AlreadySubmittedError:
            if asked_before:  # and the answer was lost
                return
            raise
        except ServiceUnavailableError:
            if time.monotonic() > end:
                raise
        asked_before = True
        time.sleep(ASK)
