"""The other ways to run: static pods, a Ray cluster that exists, GPU pods, submission from outside, upgrades, two releases."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from space import REPOSITORY, Space

from groot_ray.cluster.ray_api import RayJobs
from groot_ray.errors import ConfigurationError
from groot_ray.experiment.document import parse_yaml
from groot_ray.storage import open_location
from groot_ray.storage.lease import attempts

STRANGER = """
apiVersion: v1
kind: Pod
metadata: {name: stranger}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: stranger
      image: IMAGE
      command: [sleep, "3600"]
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, readOnlyRootFilesystem: true}
"""
REACH = "import socket,sys\nfor p in (6379,8265,10001,8080,52365):\n s=socket.socket(); s.settimeout(2)\n print(p, s.connect_ex((sys.argv[1],p))==0)"


@pytest.fixture(scope="module")
def static(space: Space) -> Iterator[Space]:
    """A release of static pods, conversion at work."""
    space.demo.secret("ray-token", {"auth_token": base64.urlsafe_b64encode(os.urandom(32)).decode()})
    space.install("fixed", "cluster.ray.mode=static", "cluster.ray.token_secret=ray-token")
    yield space
    space.helm("uninstall", "fixed", check=False)


def test_static_pods_are_scaled_by_the_job(static: Space) -> None:
    assert all(s["spec"]["replicas"] == 0 or "download" in s["metadata"]["name"] for s in static.get("statefulsets"))
    head = static.wait_for("the head of convert", lambda: ready(static, "fixed", stage="convert", group="head"), 600)
    strangers_reach_nothing(static, head["status"]["podIP"])
    a_wrong_token_is_refused(static, head["metadata"]["name"])
    static.wait_done("fixed")
    assert all(s["spec"]["replicas"] == 0 for s in static.get("statefulsets"))
    static.wait_for("the Ray pods to end", lambda: not static.pods("fixed", component="ray"), 120)


def ready(space: Space, release: str, **labels: str) -> Any:
    """A pod that is ready."""
    for pod in space.pods(release, **labels):
        if any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", [])):
            return pod
    return None


def strangers_reach_nothing(space: Space, address: str) -> None:
    """Another pod of the namespace reaches none of Ray's ports, and MinIO, to show that it can reach anything at all."""
    import groot_ray

    image = f"localhost/groot-ray:{groot_ray.__version__}-data"
    space.kubectl("apply", "-f", "-", stdin=STRANGER.replace("IMAGE", image))
    try:
        space.kubectl("wait", "--for=condition=Ready", "pod/stranger", "--timeout=60s")
        time.sleep(3)  # for the policy to be in force
        minio = space.kubectl("exec", "stranger", "--", "python", "-c", REACH.replace("6379", "9000"), "minio")
        assert "9000 True" in minio
        seen = space.kubectl("exec", "stranger", "--", "python", "-c", REACH, address)
        assert "True" not in seen and seen.count("False") == 5, seen
    finally:
        space.kubectl("delete", "pod", "stranger", "--force", "--grace-period=0", check=False)


def a_wrong_token_is_refused(space: Space, head: str) -> None:
    with space.module.port_forward(space.namespace, f"pod/{head}", 8265) as port:
        with pytest.raises(ConfigurationError, match="token"):
            RayJobs(f"http://127.0.0.1:{port}", "wrong").jobs()
        with pytest.raises(ConfigurationError, match="token"):
            RayJobs(f"http://127.0.0.1:{port}", None).jobs()


RAY = {
    "apiVersion": "ray.io/v1",
    "kind": "RayCluster",
    "metadata": {"name": "standing"},
}


@pytest.fixture(scope="module")
def standing(space: Space) -> Iterator[str]:
    """A Ray cluster that belongs to nobody's release, with the storage's credentials; gives the head pod's name."""
    rendered = space.helm(
        "template",
        "standing",
        str(REPOSITORY / "charts" / "groot-experiment"),
        "-f",
        str(REPOSITORY / "k8s" / "demo.yaml"),
        "--set",
        "cluster.ray.head.cpus=2",
    ).stdout
    told = next(
        json.loads(d["data"]["stage-download.json"])
        for d in yaml.safe_load_all(rendered)
        if d and d["kind"] == "ConfigMap"
    )
    cluster = told["manifest"]
    cluster["metadata"] = {**RAY["metadata"], "annotations": cluster["metadata"]["annotations"]}
    pod = cluster["spec"]["headGroupSpec"]["template"]
    pod["metadata"]["labels"] = {"standing": "head"}
    pod["spec"]["containers"][0]["image"] = pod["spec"]["containers"][0]["image"].replace("-data", "-train")
    cluster["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] = "3"
    pod["spec"]["containers"][0]["resources"]["limits"]["memory"] = "5Gi"
    space.kubectl("apply", "-f", "-", stdin=json.dumps(cluster))
    space.wait_for(
        "the standing head",
        lambda: [p for p in space.get("pods", "-l", "standing=head") if p["status"].get("phase") == "Running"],
        300,
    )
    name = space.get("pods", "-l", "standing=head")[0]["metadata"]["name"]
    space.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=300s")
    yield name
    space.kubectl("delete", "raycluster", "standing", check=False)


def token_of(space: Space, secret: str) -> str:
    data = json.loads(space.kubectl("get", "secret", secret, "-o", "json"))["data"]
    return base64.b64decode(data["auth_token"]).decode()


def test_an_external_cluster(space: Space, standing: str) -> None:
    sets = [
        "cluster.ray.mode=external",
        f"cluster.ray.address=http://standing-head-svc.{space.namespace}:8265",
        "cluster.ray.token_secret=standing",
    ]
    try:
        space.install("outside", *sets)
        space.wait_done("outside", ("download", "convert"))
        assert not space.pods("outside", component="ray") and not space.get(
            "rayclusters", "-l", "groot-ray/release=outside"
        )
    finally:
        space.helm("uninstall", "outside", check=False)


def test_submit_status_logs_and_stop_from_outside(space: Space, standing: str, tmp_path: Path) -> None:
    document = parse_yaml((REPOSITORY / "k8s" / "demo.yaml").read_text(), "demo.yaml")
    document["experiment"]["name"] = "sent"
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(document))
    target = str(tmp_path / "experiment.yaml")
    with space.demo.storage() as endpoint, space.module.port_forward(space.namespace, f"pod/{standing}", 8265) as port:
        env = {"RAY_AUTH_TOKEN": token_of(space, "standing"), "AWS_ENDPOINT_URL_S3": endpoint}
        address = f"http://127.0.0.1:{port}"
        # Inside the cluster storage has another name than here.
        words = ["submit", target, "--address", address, "--env", "AWS_ENDPOINT_URL_S3=http://minio:9000"]
        done = space.groot_ray(*words, "--stage", "download", "--stage", "convert", env=env)
        assert done.returncode == 0 and "is done" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
        assert "AWS_SECRET_ACCESS_KEY" in done.stderr, "it says what it did not send"
        refused = space.groot_ray(*words, env={**env, "RAY_AUTH_TOKEN": "wrong"})
        assert refused.returncode == 64 and "token" in refused.stderr
        state = space.groot_ray("status", target, env=env).stdout
        assert "convert" in state and "done" in state and "SUCCEEDED" in state, state
        assert "episodes" in space.groot_ray("logs", target, "--stage", "convert", env=env).stdout
        sent = space.groot_ray(*words, "--stage", "finetune", "--no-follow", env=env)
        assert sent.returncode == 0, sent.stderr
        space.wait_for("training", lambda: "at work" in space.groot_ray("status", target, env=env).stdout, 300)
        stopped = space.groot_ray("stop", target, env=env)
        assert stopped.returncode == 0 and "finetune" in stopped.stdout, stopped.stdout + stopped.stderr
        plain = {**os.environ, **env, "RAY_AUTH_MODE": "token", "RAY_ADDRESS": address}
        ray = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--working-dir", str(tmp_path), "--"]
        words = [
            "env",
            "AWS_ENDPOINT_URL_S3=http://minio:9000",
            "groot-ray",
            "run",
            "experiment.yaml",
            "--stage",
            "convert",
        ]
        done_plain = subprocess.run([*ray, *words], env=plain, capture_output=True, text=True)
        assert done_plain.returncode == 0 and "succeeded" in done_plain.stdout, (
            done_plain.stdout[-1500:] + done_plain.stderr[-1500:]
        )


def test_gpu_groups_and_an_upgrade_with_more_steps(space: Space) -> None:
    if not any(n["status"]["allocatable"].get("nvidia.com/gpu", "0") != "0" for n in space.get("nodes")):
        pytest.skip("no node has a GPU, real or fake")
    training = ["use_gpu=true", "num_workers=1", "logging_steps=2", "recovery_interval=5"]
    sets = [
        *[f"experiment.training.{item}" for item in training],
        "cluster.ray.gpu.gpus=1",
        "cluster.stages.evaluate.enabled=false",
    ]
    try:
        space.install("gpu", *sets, "experiment.training.max_steps=40")
        space.wait_for("a GPU worker", lambda: ready(space, "gpu", stage="finetune", group="gpu"), 900)
        node = ready(space, "gpu", stage="finetune", group="gpu")["spec"]["nodeName"]
        gpu_nodes = [
            n["metadata"]["name"] for n in space.get("nodes") if n["status"]["allocatable"].get("nvidia.com/gpu")
        ]
        assert node in gpu_nodes
        space.wait_for("steps", lambda: "loss" in space.status("gpu"), 900)
        space.install("gpu", *sets, "experiment.training.max_steps=44")  # while the GPU worker is at work
        space.wait_done("gpu", ("finetune",), 1800)
        space.wait_for("the GPUs to be given back", lambda: not space.pods("gpu", stage="finetune", group="gpu"), 60, 1)
        with space.demo.storage() as endpoint:
            root = open_location("s3://groot/experiments/gpu", endpoint)
            (run,) = (root / "finetune").folders()
            assert any(e.relative == "done-44.json" for e in run.list())
            steps = [row["step"] for row in history(run)]
            assert steps == sorted(set(steps)) and steps[-1] == 44, "continued, and no step committed twice"
            assert len(attempts(run)) > 1
    finally:
        space.helm("uninstall", "gpu", check=False)


def history(run: Any) -> list[dict[str, Any]]:
    """Logged steps of a run, from its newest checkpoint."""
    states = [e for e in run.list() if e.relative.endswith("trainer_state.json")]
    newest = max(states, key=lambda e: e.location.read_json()["global_step"])
    return [row for row in newest.location.read_json()["log_history"] if "loss" in row]


def test_a_failed_upgrade_and_uninstall_leave_nothing(space: Space) -> None:
    space.install("broken")
    space.wait_for("the first Job", lambda: space.pods("broken", component="job"), 60)
    # The API server refuses the second object of a kind with a bad quantity for the pods' memory, after others were changed.
    failed = space.install("broken", "experiment.training.max_steps=41", "cluster.jobs.memory=1", check=False)
    assert failed.returncode != 0, "a Job whose limit is below its request is refused"
    space.helm("uninstall", "broken")
    space.wait_for("nothing of the release", lambda: not [n for n in space.leftovers() if "broken" in n], 180)


def test_two_releases_do_not_touch(space: Space) -> None:
    try:
        space.install("one")
        space.install("two")
        space.wait_done("one", ("download",), 600)
        space.wait_done("two", ("download",), 600)
        space.helm("uninstall", "one")
        assert "two" in space.helm("list", "-q").stdout and space.get("jobs", "-l", "groot-ray/release=two")
        assert not [n for n in space.leftovers() if "/one" in n]
    finally:
        for name in ("one", "two"):
            space.helm("uninstall", name, check=False)
