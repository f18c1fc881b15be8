"""Who can reach whom: connections from inside pods, and requests with a wrong token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from space import Space

import groot_ray
from groot_ray.cluster.ray.jobs import RayJobs
from groot_ray.errors import ConfigurationError

RAY_PORTS = (6379, 8265, 10001, 8080, 52365)
LISTENING = 8000
STRANGER = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "stranger"},
    "spec": {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "stranger",
                "image": f"localhost/groot-ray:{groot_ray.__version__}-data",
                "command": ["python", "-m", "http.server", str(LISTENING)],
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": True,
                },
            }
        ],
    },
}
TRY = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def open_(target):
    host, port = target
    with socket.socket() as s:
        s.settimeout(2)
        try: return s.connect_ex((host, port)) == 0
        except OSError: return False
targets = json.loads(sys.argv[1])
with ThreadPoolExecutor(len(targets)) as pool:
    print(json.dumps({f"{h}:{p}": found for (h, p), found in zip(targets, pool.map(open_, targets))}))
"""


@contextmanager
def stranger(space: Space) -> Iterator[str]:
    """A listening pod of the namespace that belongs to no release; gives its address."""
    space.kubectl("apply", "-f", "-", stdin=json.dumps(STRANGER))
    try:
        space.kubectl("wait", "--for=condition=Ready", "pod/stranger", "--timeout=60s")
        yield json.loads(space.kubectl("get", "pod", "stranger", "-o", "json"))["status"]["podIP"]
    finally:
        space.kubectl("delete", "pod", "stranger", "--force", "--grace-period=0", check=False)


def reaches(space: Space, pod: str, *targets: tuple[str, int]) -> dict[str, bool]:
    """Which targets (host, port) a pod can open a connection to."""
    words = ["exec", pod, "-c", _container(space, pod), "--", "python", "-c", TRY, json.dumps(targets)]
    return json.loads(space.kubectl(*words).splitlines()[-1])


def _container(space: Space, pod: str) -> str:
    return json.loads(space.kubectl("get", "pod", pod, "-o", "json"))["spec"]["containers"][0]["name"]


def ready(space: Space, release: str, **labels: str) -> Any:
    """A ready pod of a release; None if there is none."""
    for pod in space.pods(release, **labels):
        if any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", [])):
            return pod
    return None


def closed_to_strangers(space: Space, head: dict[str, Any]) -> None:
    """Another pod of the namespace reaches none of Ray's ports, but MinIO; the head itself has those ports open."""
    name, address = head["metadata"]["name"], head["status"]["podIP"]
    at_home = reaches(space, name, *[(address, port) for port in RAY_PORTS])
    assert at_home[f"{address}:6379"] and at_home[f"{address}:8265"], f"the ports are there to be reached: {at_home}"
    seen = reaches(space, "stranger", ("minio", 9000), *[(address, port) for port in RAY_PORTS])
    assert seen.pop("minio:9000"), "the stranger can reach anything at all"
    assert len(seen) == len(RAY_PORTS) and not any(seen.values()), seen


def closed_to_the_outside(space: Space, worker: dict[str, Any], head: dict[str, Any], other: str) -> None:
    """A Ray pod reaches its head and storage, and no other pod of the namespace."""
    assert reaches(space, "stranger", (other, LISTENING))[f"{other}:{LISTENING}"], "the stranger listens"
    address = head["status"]["podIP"]
    seen = reaches(space, worker["metadata"]["name"], ("minio", 9000), (address, 6379), (other, LISTENING))
    assert seen == {"minio:9000": True, f"{address}:6379": True, f"{other}:{LISTENING}": False}, seen


def wrong_token_refused(space: Space, head: str) -> None:
    """Ray's job port answers nobody without the cluster's token."""
    with space.module.port_forward(space.namespace, f"pod/{head}", 8265) as port:
        for token in ("wrong", None):
            with pytest.raises(ConfigurationError, match="token"):
                RayJobs(f"http://127.0.0.1:{port}", token).jobs()
