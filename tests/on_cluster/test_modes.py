"""Other ways to run: static pods, an external Ray cluster, GPU pods, submission, upgrades, two releases."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from reach import closed_to_strangers, closed_to_the_outside, ready, stranger, wrong_token_refused
from space import REPOSITORY, Space

from groot_ray.storage import open_location
from groot_ray.storage.lease import attempts
from groot_ray.yaml_text import parse_yaml


@pytest.fixture(scope="module")
def static(space: Space) -> Iterator[Space]:
    """A release of static pods."""
    space.demo.secret("ray-token", {"auth_token": base64.urlsafe_b64encode(os.urandom(32)).decode()})
    space.install("fixed", "cluster.ray.mode=static", "cluster.ray.token_secret=ray-token")
    yield space
    space.helm("uninstall", "fixed", check=False)


def test_static_pods_are_scaled_by_the_job(static: Space) -> None:
    later = [s for s in static.get("statefulsets") if "download" not in s["metadata"]["name"]]
    assert later and any(s["spec"]["replicas"] == 0 for s in later), "pods wait for their stage"
    with stranger(static) as other:
        worker = static.wait_for("a worker", lambda: ready(static, "fixed", stage="finetune", group="cpu"), 900, 1)
        head = static.wait_for("the head", lambda: ready(static, "fixed", stage="finetune", group="head"), 60, 0.5)
        closed_to_strangers(static, head)
        closed_to_the_outside(static, worker, head, other)
        wrong_token_refused(static, head["metadata"]["name"])
    static.wait_done("fixed")
    assert all(s["spec"]["replicas"] == 0 for s in static.get("statefulsets"))
    static.wait_for("the Ray pods to end", lambda: not static.pods("fixed", component="ray"), 120)


RAY = {
    "apiVersion": "ray.io/v1",
    "kind": "RayCluster",
    "metadata": {"name": "standing"},
}


@pytest.fixture(scope="module")
def standing(space: Space) -> Iterator[str]:
    """A Ray cluster that belongs to no release, with the storage's credentials; gives the head pod's name."""
    rendered = space.helm(
        "template",
        "standing",
        str(REPOSITORY / "charts" / "groot-experiment"),
        "-f",
        str(REPOSITORY / "k8s" / "demo.yaml"),
        "--set",
        "cluster.ray.head.cpus=2",
    ).stdout
    settings = next(
        json.loads(d["data"]["stage-download.json"])
        for d in yaml.safe_load_all(rendered)
        if d and d["kind"] == "ConfigMap"
    )
    cluster = settings["manifest"]
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
        space.wait_done("outside")
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
        # Inside the cluster, storage has another name than here.
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


def test_a_head_that_is_deleted_during_submit_is_told(space: Space, standing: str, tmp_path: Path) -> None:
    """The connection is lost and returns to another head; the command says so, and a new submission resumes the run."""
    document = parse_yaml((REPOSITORY / "k8s" / "demo.yaml").read_text(), "demo.yaml")
    document["experiment"]["name"] = "lost"
    document["experiment"]["training"] |= {"max_steps": 60, "save_steps": 5, "logging_steps": 1}
    target = tmp_path / "experiment.yaml"
    target.write_text(yaml.safe_dump(document))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with space.demo.storage() as endpoint:
        env = {**os.environ, "RAY_AUTH_TOKEN": token_of(space, "standing"), "AWS_ENDPOINT_URL_S3": endpoint}
        words = [sys.executable, "-m", "groot_ray.cli.main", "submit", str(target)]
        words += ["--address", f"http://127.0.0.1:{port}", "--env", "AWS_ENDPOINT_URL_S3=http://minio:9000"]
        words += ["--stage", "download", "--stage", "convert", "--stage", "finetune"]
        printed = (tmp_path / "printed").open("w")
        first = forward(space, port)
        following = subprocess.Popen(words, env=env, cwd=REPOSITORY, stdout=printed, stderr=subprocess.STDOUT)
        try:
            space.wait_for("steps", lambda: "checkpoint of step 5 " in (tmp_path / "printed").read_text(), 600, 0.5)
            space.kubectl("delete", "pod", space.get("pods", "-l", "standing=head")[0]["metadata"]["name"], "--force")
            space.wait_for("the loss to be noticed", lambda: "is lost" in (tmp_path / "printed").read_text(), 120, 1)
        finally:
            first.terminate()
        space.wait_for("another head", lambda: standing_head(space), 300)
        second = forward(space, port)
        try:
            assert following.wait(300) == 75, (tmp_path / "printed").read_text()
            assert "was replaced" in (tmp_path / "printed").read_text()
            env["RAY_AUTH_TOKEN"] = token_of(space, "standing")
            again = subprocess.run(words, env=env, cwd=REPOSITORY, capture_output=True, text=True)
            assert again.returncode == 0, again.stdout[-3000:] + again.stderr[-2000:]
            assert "resuming from step" in again.stdout and "trained 60 steps" in again.stdout
        finally:
            second.terminate()


def forward(space: Space, port: int) -> subprocess.Popen[bytes]:
    """`kubectl port-forward` to the standing head on a port of this machine, open when this returns."""
    words = [space.module.tool("kubectl"), "-n", space.namespace, "port-forward", "svc/standing-head-svc"]
    process = subprocess.Popen([*words, f"{port}:8265"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return process
        time.sleep(0.2)
    process.terminate()
    raise AssertionError("the standing head cannot be reached")


def standing_head(space: Space) -> bool:
    """Whether the standing cluster has a head that is ready."""
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for pod in space.get("pods", "-l", "standing=head")
        if not pod["metadata"].get("deletionTimestamp")
        for condition in pod["status"].get("conditions", [])
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
        space.install("gpu", *sets, "experiment.training.max_steps=44")  # while the GPU worker runs
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


def test_an_account_that_exists_is_that_of_all_pods(space: Space) -> None:
    """As for workload identity; the Jobs and the autoscaler use it too."""
    space.kubectl("create", "serviceaccount", "reader")
    off = [f"cluster.stages.{stage}.enabled=false" for stage in ("finetune", "evaluate")]
    accounts = set()

    def seen() -> bool:
        accounts.update(pod["spec"]["serviceAccountName"] for pod in space.pods("account"))
        return bool(space.pods("account", stage="convert", group="cpu"))

    try:
        space.install("account", "cluster.security.service_account=reader", *off)
        space.wait_for("a worker that the autoscaler brings", seen, 300, 0.5)
        space.wait_done("account", ("download", "convert"))
        assert accounts == {"reader"}
        assert "Succeeded" in space.helm("test", "account", "--timeout", "5m", check=False).stdout
    finally:
        space.helm("uninstall", "account", check=False)


def test_a_changed_conversion_redoes_what_depends_on_it(space: Space) -> None:
    values = {"experiment": {"training": {"max_steps": 2, "num_workers": 1}}}
    try:
        space.install("again", values=values)
        space.wait_done("again")
        values["experiment"]["conversion"] = {"quality": 30}
        space.install("again", values=values)
        with space.demo.storage() as endpoint:
            root = open_location("s3://groot/experiments/again", endpoint)
            space.wait_for(
                "a second evaluation",
                lambda: len([e for e in (root / "evaluate").list() if e.relative.endswith("manifest.json")]) == 2,
                900,
            )
            converted, trained = (list((root / stage).folders()) for stage in ("convert", "finetune"))
            assert len(converted) == len(trained) == 2 and len(list((root / "download").folders())) == 1
            inputs = {(run / "done-2.json").read_json()["inputs"]["convert"] for run in trained}
            assert inputs == {folder.name for folder in converted}
    finally:
        space.helm("uninstall", "again", check=False)


def test_what_a_changed_release_leaves_running_is_removed(space: Space) -> None:
    """A stage that is switched off while it trains, and another ray mode while it trains again."""
    training = {"max_steps": 200, "logging_steps": 2, "recovery_interval": 0, "save_steps": 200}
    values = {"experiment": {"training": training}, "cluster": {"stages": {"evaluate": {"enabled": False}}}}
    space.demo.secret("left-token", {"auth_token": base64.urlsafe_b64encode(os.urandom(32)).decode()})

    def clusters() -> set[str]:
        return {c["metadata"]["name"] for c in space.get("rayclusters") if "left" in c["metadata"]["name"]}

    def steps() -> bool:
        return "loss" in space.status("left")

    try:
        space.install("left", values=values)
        space.wait_for("steps", steps, 900)
        values["cluster"]["stages"] = {"evaluate": {}, "finetune": {"enabled": False}}
        space.install("left", values=values)
        space.wait_for("its pods to go", lambda: not clusters() and not space.pods("left", stage="finetune"), 180)
        values["cluster"] = {"stages": {"evaluate": {"enabled": False}}}
        space.install("left", values=values)
        space.wait_for("steps again", steps, 900)
        assert clusters() == {"left-finetune"}
        values["cluster"]["ray"] = {"mode": "static", "token_secret": "left-token"}
        space.install("left", values=values)
        space.wait_for("the RayCluster to go", lambda: not clusters(), 240)
        space.wait_for("a worker of the StatefulSet", lambda: ready(space, "left", stage="finetune", group="cpu"), 600)
        space.wait_done("left", ("finetune",), 1800)
        with space.demo.storage() as endpoint:
            (run,) = (open_location("s3://groot/experiments/left", endpoint) / "finetune").folders()
            numbers = [row["step"] for row in history(run)]
            assert numbers == sorted(set(numbers)) and numbers[-1] == 200, "continued, and no step committed twice"
            ends = [(run / "attempts" / f"{a.number}.end.json").read_json()["at"] for a in attempts(run)]
            claims = [(run / "attempts" / f"{a.number}.json").read_json()["at"] for a in attempts(run)]
            assert len(ends) == 3 and all(end <= claim for end, claim in zip(ends, claims[1:], strict=False))
    finally:
        space.helm("uninstall", "left", check=False)


def test_a_failed_upgrade_and_uninstall_leave_nothing(space: Space) -> None:
    """An upgrade that the API server breaks off half-way, one whose image cannot be pulled, and then an uninstall."""
    space.install("broken")
    space.wait_for("a Ray head", lambda: space.pods("broken", component="ray"), 300)
    jobs = len(space.get("jobs"))
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}}
    quota["spec"] = {"hard": {"count/jobs.batch": str(jobs + 1)}}
    space.kubectl("apply", "-f", "-", stdin=json.dumps(quota))
    try:
        space.wait_for("the quota to count", lambda: space.get("resourcequota")[0]["status"].get("used"), 60, 1)
        failed = space.install(
            "broken", "experiment.training.max_steps=41", "experiment.conversion.quality=30", check=False
        )
        assert failed.returncode != 0 and "quota" in failed.stderr, failed.stderr
    finally:
        space.kubectl("delete", "resourcequota", "few")

    def owned() -> bool:
        jobs = space.get("jobs", "-l", "groot-ray/release=broken")
        return len(jobs) > 4 and all(job["metadata"].get("ownerReferences") for job in jobs)

    space.wait_for("an owner for the Jobs of both revisions, whom Helm forgets", owned, 120)
    missing = space.install("broken", "cluster.image.data=registry.invalid/no-such:1", check=False)
    assert missing.returncode == 0, missing.stderr
    space.wait_for(
        "an image that cannot be pulled", lambda: "registry.invalid/no-such:1" in space.status("broken"), 180
    )
    began = time.monotonic()
    space.helm("uninstall", "broken")
    assert time.monotonic() - began < 120
    space.wait_for("nothing of the release", lambda: not [n for n in space.leftovers() if "broken" in n], 180)


def test_two_releases_do_not_touch(space: Space) -> None:
    """Beside each other in one namespace; and one of the same name in another namespace."""
    elsewhere = Space(f"{space.namespace}-b")
    elsewhere.demo.prepare()
    elsewhere.demo.upload()
    try:
        space.install("one")
        space.install("two")
        elsewhere.install("one")
        for place, release in ((space, "one"), (space, "two"), (elsewhere, "one")):
            place.wait_done(release, ("download", "convert"), 1200)
        space.helm("uninstall", "one")
        assert "two" in space.helm("list", "-q").stdout and space.get("jobs", "-l", "groot-ray/release=two")
        space.wait_for("nothing of one", lambda: not [n for n in space.leftovers() if "/one" in n], 120)
        assert elsewhere.get("jobs", "-l", "groot-ray/release=one"), "the other namespace keeps its own"
        trained = elsewhere.wait_for("training", lambda: ready(elsewhere, "one", stage="finetune", group="head"), 600)
        assert trained["metadata"]["namespace"] == elsewhere.namespace
    finally:
        for place, release in ((space, "one"), (space, "two"), (elsewhere, "one")):
            place.helm("uninstall", release, check=False)
        space.kubectl("delete", "namespace", elsewhere.namespace, "--wait=false", check=False)
