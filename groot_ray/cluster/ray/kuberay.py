"""A RayCluster that the stage's Job creates and deletes; KubeRay makes its pods."""

from __future__ import annotations

import base64
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from groot_ray.cluster.kube.api import Kubernetes, RefusedObjectError
from groot_ray.cluster.kube.settings import StageSettings
from groot_ray.cluster.ray.jobs import RayJobs
from groot_ray.cluster.ray.pods import head_pods, head_waits_for, ray_pods
from groot_ray.errors import ServiceUnavailableError, TemporaryFailureError

log = logging.getLogger(__name__)

HEAD_REFUSED = "FailedCreateHeadPod"  # reason of KubeRay's condition ReplicaFailure when it cannot make the head's pod
QUEUE = "kueue.x-k8s.io/queue-name"  # label that names a workload's queue
# The API server's message about a pod that it will never accept.
FINAL_REFUSAL = re.compile(r" is (forbidden|invalid): (?!.*(is being terminated|not yet ready))", re.DOTALL)


@dataclass
class KubeRayCluster:
    """A RayCluster owned by the release's ConfigMap, so that it is removed with the release; see `RayCluster`."""

    kube: Kubernetes
    settings: StageSettings

    @property
    def name(self) -> str:
        return self.settings.cluster

    @property
    def path(self) -> str:
        return f"/apis/ray.io/v1/namespaces/{self.settings.namespace}/rayclusters"

    def digest(self) -> str | None:
        found = self._find()
        if found is None or found["metadata"].get("deletionTimestamp"):
            return None
        return str(found["metadata"].get("labels", {}).get("groot-ray/digest", ""))

    def start(self, check: Callable[[], None]) -> None:
        reference = self._owner()
        if self.digest() is None:
            self._wait_until_gone(check)
        manifest = dict(self.settings.manifest)
        manifest["metadata"] = {**manifest["metadata"], "ownerReferences": [reference]}
        if self.kube.create(self.path, manifest):
            log.info("created RayCluster %s", self.name)

    def connect(self) -> RayJobs:
        secret = self.kube.find(self._secret)
        token = (secret or {}).get("data", {}).get("auth_token")
        if not token:
            raise ServiceUnavailableError(f"KubeRay has not made the token of RayCluster {self.name} yet")
        address = f"http://{self.name}-head-svc.{self.settings.namespace}:8265"
        return RayJobs(address, base64.b64decode(token).decode().strip())

    def waits_for(self) -> str | None:
        cluster = self._find() or {"metadata": {}, "spec": {}}
        if cluster["spec"].get("suspend"):
            queue = cluster["metadata"].get("labels", {}).get(QUEUE)
            return f"RayCluster {self.name} is suspended" + (f" until queue {queue} admits it" if queue else "")
        if heads := head_pods(self.kube, self.settings):
            return head_waits_for(heads)
        refusal = head_refusal(cluster)
        if "exceeded quota" in refusal:
            return f"RayCluster {self.name} waits for quota: {refusal}"
        if FINAL_REFUSAL.search(refusal):
            raise RefusedObjectError(f"Kubernetes refuses the head's pod of RayCluster {self.name}: {refusal}")
        return None

    def suspended(self) -> bool:
        cluster = self._find()
        return cluster is not None and bool(cluster["spec"].get("suspend"))

    def stop(self) -> None:
        if self.digest() is not None:
            log.info("deleting RayCluster %s", self.name)
            self.kube.delete(f"{self.path}/{self.name}")

    def _find(self) -> dict[str, Any] | None:
        return self.kube.find(f"{self.path}/{self.name}")

    def _owner(self) -> dict[str, Any]:
        """The owner reference to the release's ConfigMap."""
        owner = self.kube.find(f"/api/v1/namespaces/{self.settings.namespace}/configmaps/{self.settings.owner}")
        if owner is None or owner["metadata"].get("deletionTimestamp"):
            raise TemporaryFailureError(f"release {self.settings.instance} is being removed; no Ray cluster is made")
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": self.settings.owner,
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": False,
        }

    @property
    def _secret(self) -> str:
        return f"/api/v1/namespaces/{self.settings.namespace}/secrets/{self.name}"

    def _wait_until_gone(self, check: Callable[[], None]) -> None:
        """Wait until pods and token of an earlier cluster of this name are gone: KubeRay would reuse them."""
        while self.kube.find(self._secret) is not None or ray_pods(self.kube, self.settings):
            check()
            time.sleep(1)


def head_refusal(cluster: dict[str, Any]) -> str:
    """Why KubeRay could not make the head's pod of a RayCluster; empty if it could. Missing workers do not matter."""
    for condition in cluster.get("status", {}).get("conditions", []):
        if condition.get("status") == "True" and condition.get("reason") == HEAD_REFUSED:
            words = str(condition.get("message", "")).split()
            return " ".join(words[1:] if words[:1] == [HEAD_REFUSED] else words)
    return ""
