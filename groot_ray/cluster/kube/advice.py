"""Advice for pods, Jobs and Ray clusters that are stuck: pure functions of what Kubernetes says."""

from __future__ import annotations

import re
from typing import Any

from groot_ray.cluster.kube.exit_codes import MEANINGS
from groot_ray.experiment.cluster import quantity

# Events by which Kubernetes and KubeRay say that they cannot make an object (InvalidRayClusterMetadata, FailedCreate,
# FailedToCreateHeadPod). Other warnings, such as one failed probe, pass by themselves.
HINDERS = re.compile(r"Invalid|FailedCreate|FailedToCreate|AutoscalerServiceAccountNotFound")


def advise_pod(pod: dict[str, Any], nodes: list[dict[str, Any]] | None = None) -> list[str]:
    """Sentences about one pod; empty if nothing is wrong.

    Args:
        pod: the pod as the API returns it.
        nodes: the cluster's nodes, if this account may list them.
    """
    name = pod["metadata"]["name"]
    status = pod.get("status", {})
    said = _about_scheduling(pod, nodes)
    containers = {c["name"]: c for c in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]}
    for state in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        container = containers.get(state["name"], {})
        said += _about_start(pod, container, state)
        said += _about_memory(pod, container, state)
    if status.get("reason") == "Evicted":
        said.append(f"{name} was evicted: {_short(status.get('message', ''))}")
    return said


def _about_scheduling(pod: dict[str, Any], nodes: list[dict[str, Any]] | None) -> list[str]:
    name = pod["metadata"]["name"]
    return [
        f"{name} waits for a node: {unschedulable(pod, condition.get('message', ''), nodes)}"
        for condition in pod.get("status", {}).get("conditions", [])
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable"
    ]


def _about_start(pod: dict[str, Any], container: dict[str, Any], state: dict[str, Any]) -> list[str]:
    """A container whose image cannot be pulled, or that cannot be created."""
    name = pod["metadata"]["name"]
    waiting = state.get("state", {}).get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"):
        secrets = ", ".join(item["name"] for item in pod["spec"].get("imagePullSecrets", []))
        credentials = f"with the Secret {secrets}" if secrets else "without a pull Secret (cluster.image.pull_secrets)"
        return [f"{name} cannot pull {container.get('image', '?')} {credentials}: {_short(message or reason)}"]
    if reason in ("CreateContainerConfigError", "CreateContainerError"):
        return [f"{name} cannot start: {_short(message)}{_which_secret(message)}"]
    return []


def _about_memory(pod: dict[str, Any], container: dict[str, Any], state: dict[str, Any]) -> list[str]:
    """A container that ran out of memory, now or the last time."""
    name = pod["metadata"]["name"]
    ended = [state.get("state", {}).get("terminated"), state.get("lastState", {}).get("terminated")]
    if not any(last and last.get("reason") == "OOMKilled" for last in ended):
        return []
    limit = container.get("resources", {}).get("limits", {}).get("memory", "none")
    return [
        f"{name} ran out of memory (OOMKilled): container {state['name']} has a limit of {limit}; "
        f"raise {memory_option(pod, state['name'])}"
    ]


def memory_option(pod: dict[str, Any], container: str) -> str:
    """The option that sets the memory of a pod's container."""
    group = pod["metadata"].get("labels", {}).get("groot-ray/group")
    if group is None:
        return "cluster.jobs.memory"
    return "cluster.ray.autoscaler_memory" if container == "autoscaler" else f"cluster.ray.{group}.memory"


def unschedulable(pod: dict[str, Any], message: str, nodes: list[dict[str, Any]] | None) -> str:
    """Why no node takes a pod: the resource that no node has, or the scheduler's message."""
    wanted: dict[str, float] = {}
    for container in pod["spec"]["containers"]:
        for resource, amount in container.get("resources", {}).get("requests", {}).items():
            wanted[resource] = wanted.get(resource, 0.0) + quantity(amount)
    for resource, amount in sorted(wanted.items(), key=lambda item: "/" not in item[0]):  # GPUs first
        if nodes is None:
            break
        most = max(
            (quantity(n.get("status", {}).get("allocatable", {}).get(resource, "0")) for n in nodes), default=0.0
        )
        if most < amount:
            return f"no node has {described(resource, amount)} (the largest has {described(resource, most)})"
    lacking = re.findall(r"Insufficient ([\w./-]*\w)", message)
    if lacking:
        resources = ", ".join(f"{described(name, wanted.get(name, 0))}" for name in dict.fromkeys(lacking))
        return f"no node has {resources} free now; it starts when others end or nodes are added"
    if "untolerated taint" in message:
        taints = ", ".join(dict.fromkeys(re.findall(r"untolerated taint \{([^}]*)\}", message)))
        return f"the nodes that fit have a taint that it does not tolerate ({taints}); add it to tolerations"
    if "didn't match Pod's node affinity/selector" in message:
        return f"no node has the labels {pod['spec'].get('nodeSelector', {})}; correct node_selector"
    return _short(message)


def advise_job(job: dict[str, Any], pods: list[dict[str, Any]]) -> list[str]:
    """What a failed Job's exit code means, and the program's last sentence."""
    name, status = job["metadata"]["name"], job.get("status", {})
    code, words = last_words(pods)
    for condition in status.get("conditions", []):
        if condition.get("type") == "Failed" and condition.get("status") == "True":
            if code is None:
                return [f"{name} has failed: {_short(condition.get('message', ''))}"]
            return [f"{name} has failed for good, because {MEANINGS.get(code, f'of exit code {code}')}: {words}"]
    failed = int(status.get("failed") or 0)
    if failed and not status.get("succeeded"):
        reason = MEANINGS.get(code or 0, f"exit code {code}")
        limit = job["spec"].get("backoffLimit", 6)
        return [f"{name} is retried after {failed} of {limit} failures; the last: {reason}: {words}"]
    return []


def last_words(pods: list[dict[str, Any]]) -> tuple[int | None, str]:
    """Exit code and last sentence of the pod that ended last."""
    ended = []
    for pod in pods:
        for state in pod.get("status", {}).get("containerStatuses", []):
            terminated = state.get("state", {}).get("terminated")
            if terminated and terminated.get("exitCode"):
                ended.append((terminated.get("finishedAt") or "", terminated))
    if not ended:
        return None, ""
    newest = max(ended, key=lambda pair: pair[0])[1]
    lines = [
        line for line in (newest.get("message") or newest.get("reason") or "").strip().splitlines() if line.strip()
    ]
    spoken = [line.split("groot-ray: ", 1)[1] for line in lines if "groot-ray: " in line]
    return newest["exitCode"], _short((spoken or lines or ["no message"])[-1], 400)


def advise_queue(cluster: dict[str, Any], workloads: list[dict[str, Any]]) -> list[str]:
    """The position of a RayCluster in its queue, from Kueue's Workloads; empty if it was admitted or has no queue."""
    queue = cluster["metadata"].get("labels", {}).get("kueue.x-k8s.io/queue-name")
    if not queue or not cluster["spec"].get("suspend"):
        return []
    waiting = [w for w in workloads if w["spec"].get("queueName") == queue and not _admitted(w)]
    waiting.sort(key=lambda w: (-int(w["spec"].get("priority") or 0), w["metadata"].get("creationTimestamp", "")))
    uid = cluster["metadata"].get("uid")
    for ahead, workload in enumerate(waiting):
        if any(owner.get("uid") == uid for owner in workload["metadata"].get("ownerReferences", [])):
            others = f"{ahead} other workload{'' if ahead == 1 else 's'}"
            return [f"{cluster['metadata']['name']} is pending in queue {queue} behind {others}"]
    return [f"{cluster['metadata']['name']} is pending in queue {queue}"]


def advise_events(events: list[dict[str, Any]]) -> list[str]:
    """What keeps a Job or RayCluster from making its pods: an invalid name or specification, quotas, Pod Security."""
    newest: dict[str, str] = {}
    for event in sorted(events, key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or ""):
        if event.get("type") == "Warning" and HINDERS.match(event.get("reason", "")):
            newest[event["reason"]] = f"{event['involvedObject']['name']}: {_short(event.get('message', ''))}"
    return list(newest.values())


def _admitted(workload: dict[str, Any]) -> bool:
    conditions = workload.get("status", {}).get("conditions", [])
    return any(c.get("type") in ("Admitted", "Finished") and c.get("status") == "True" for c in conditions)


def described(resource: str, amount: float) -> str:
    """An amount of a resource, in words."""
    if resource in ("memory", "ephemeral-storage"):
        return f"{amount / 2**30:.1f} GiB of {resource}"
    if resource == "cpu":
        return f"{amount:g} cpu"
    return f"{amount:g} x {resource}"


def _which_secret(message: str) -> str:
    missing = re.search(r'(secret|configmap) "([^"]+)" not found', message)
    if missing:
        kind = "Secret" if missing[1] == "secret" else "ConfigMap"
        return f"; create the {kind} {missing[2]}, or correct cluster.environment"
    return ""


def _short(text: str, length: int = 240) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"
