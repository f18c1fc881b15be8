"""A namespace with MinIO on the cluster of KUBECONFIG, and what tests do in it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
KINDS = (
    *("pods", "jobs", "services", "configmaps", "secrets", "serviceaccounts", "roles", "rolebindings"),
    *("networkpolicies", "statefulsets", "deployments", "rayclusters", "persistentvolumeclaims"),
)
# What Kubernetes itself puts into a namespace, and what the demo keeps there: storage.
NOT_OURS = {
    "configmap/kube-root-ca.crt",
    "serviceaccount/default",
    "secret/minio",
    "secret/storage",
    "secret/ray-token",
}


def _demo_module() -> Any:
    spec = importlib.util.spec_from_file_location("k8s_demo", REPOSITORY / "k8s" / "demo.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["k8s_demo"] = module
    spec.loader.exec_module(module)
    return module


class Space:
    """A namespace with MinIO, in which tests install releases."""

    def __init__(self, namespace: str) -> None:
        self.module = _demo_module()
        self.namespace = namespace
        self.demo = self.module.Demo(namespace, "demo")

    def kubectl(self, *words: str, stdin: str | None = None, check: bool = True) -> str:
        """kubectl in this namespace."""
        done = subprocess.run(
            [self.module.tool("kubectl"), "-n", self.namespace, *words], input=stdin, text=True, capture_output=True
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def get(self, kind: str, *words: str) -> list[dict[str, Any]]:
        """Objects of a kind."""
        return json.loads(self.kubectl("get", kind, *words, "-o", "json"))["items"]

    def helm(self, *words: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """helm in this namespace."""
        done = subprocess.run(
            [self.module.tool("helm"), *words, "-n", self.namespace], input=stdin, text=True, capture_output=True
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def install(
        self, release: str, *sets: str, values: dict[str, Any] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """`helm upgrade --install` of the demo's file with other values."""
        words = [
            "upgrade",
            "--install",
            release,
            str(REPOSITORY / "charts" / "groot-experiment"),
            "-f",
            str(REPOSITORY / "k8s" / "demo.yaml"),
        ]
        words += ["--set", f"experiment.name={release}"]
        if values is not None:
            words += ["-f", "-"]
        for item in sets:
            words += ["--set", item]
        return self.helm(*words, check=check, stdin=json.dumps(values) if values is not None else None)

    def groot_ray(self, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """The command line of the checkout."""
        return subprocess.run(
            [sys.executable, "-m", "groot_ray.cli.main", *words],
            cwd=REPOSITORY,
            text=True,
            capture_output=True,
            env={**os.environ, **(env or {})},
        )

    def status(self, release: str) -> str:
        """What `groot-ray cluster status` prints."""
        done = self.groot_ray("cluster", "status", release, "-n", self.namespace)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def states(self, release: str) -> dict[str, str]:
        """State of each stage."""
        lines = [
            line for line in self.status(release).splitlines()[1:] if line.startswith("  ") and "!" not in line[:16]
        ]
        return {line.split()[0]: line.split()[1] for line in lines}

    def wait_for(self, what: str, condition: Callable[[], Any], seconds: float = 900, poll: float = 2) -> Any:
        """Wait until `condition` returns something."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = condition()
            if found:
                return found
            time.sleep(poll)
        state = self.kubectl("get", "pods,jobs,rayclusters", check=False)
        logs = self.kubectl("logs", "-l", "groot-ray/component=job", "--tail=6", "--prefix", check=False)
        raise AssertionError(f"waited {seconds:.0f} s in vain for {what}\n{state}\n{logs}")

    def wait_done(
        self,
        release: str,
        stages: tuple[str, ...] = ("download", "convert", "finetune", "evaluate"),
        seconds: float = 1800,
    ) -> None:
        """Wait until stages are done; fails at once if one has failed."""

        def done() -> bool:
            states = self.states(release)
            assert "failed" not in states.values(), self.status(release)
            return all(states.get(stage) == "done" for stage in stages)

        self.wait_for(f"{release}: {', '.join(stages)}", done, seconds, 5)

    def pods(self, release: str, **labels: str) -> list[dict[str, Any]]:
        """Pods of a release, selected by labels of ours."""
        select = ",".join(
            [f"groot-ray/release={release}", *[f"groot-ray/{key}={value}" for key, value in labels.items()]]
        )
        return self.get("pods", "-l", select)

    def job_names(self, release: str) -> dict[str, str]:
        """Name of each stage's newest Job."""
        jobs = self.get("jobs", "-l", f"groot-ray/release={release}")
        jobs.sort(key=lambda job: job["metadata"]["creationTimestamp"])
        return {job["metadata"]["labels"]["groot-ray/stage"]: job["metadata"]["name"] for job in jobs}

    def job_log(self, release: str, stage: str) -> str:
        """The log of a stage's Job, which has its driver's log."""
        pods = self.pods(release, stage=stage, component="job")
        return self.kubectl("logs", pods[-1]["metadata"]["name"], check=False) if pods else ""

    def leftovers(self) -> set[str]:
        """Objects in the namespace that neither Kubernetes nor the demo's storage put there."""
        names = self.kubectl("get", ",".join(KINDS), "-o", "name").split()
        return {
            n
            for n in names
            if n.split(".")[0].split("/")[0] + "/" + n.split("/")[1] not in NOT_OURS and "/minio" not in n
        }


class Faults:
    """Breaks what Kubernetes itself cannot break."""

    def __init__(self, command: Path) -> None:
        self.command = command

    def __call__(self, *words: str) -> None:
        subprocess.run([str(self.command), *words], check=True, capture_output=True, text=True)

    def load_images(self) -> None:
        """Load the images on the nodes again: a node that was switched off comes back without them."""
        load = os.environ.get("IMAGE_LOAD") or f"{self.command} load"
        command = [sys.executable, str(REPOSITORY / "k8s" / "images.py"), "load"]
        subprocess.run(command, check=True, env={**os.environ, "IMAGE_LOAD": load})
