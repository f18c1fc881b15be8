"""The demo on a real cluster: it ends, equals a run on one machine, is closed to strangers and leaves nothing."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from reach import closed_to_strangers, closed_to_the_outside, ready, stranger, wrong_token_refused
from space import REPOSITORY, Space

from groot_ray.storage import open_location
from groot_ray.yaml_text import parse_yaml

RELEASE = "walk"


class Watch(threading.Thread):
    """Records a release's pods every second."""

    def __init__(self, space: Space, release: str) -> None:
        super().__init__(daemon=True)
        self.space, self.release = space, release
        self.ending = threading.Event()
        self.counts: list[tuple[float, dict[str, int]]] = []
        self.pods: dict[str, dict[str, Any]] = {}
        self.described: list[str] = []
        self.secrets: dict[str, str] = {}
        self.printed = ""

    def run(self) -> None:
        while not self.ending.wait(1):
            counts: dict[str, int] = {}
            try:
                pods = self.space.pods(self.release)
            except AssertionError:  # kubectl failed once
                continue
            for pod in pods:
                labels = pod["metadata"]["labels"]
                self.pods[pod["metadata"]["name"]] = pod
                if labels["groot-ray/component"] == "ray":
                    key = f"{labels['groot-ray/stage']}/{labels['groot-ray/group']}"
                    counts[key] = counts.get(key, 0) + 1
            self.counts.append((time.time(), counts))

    def most(self, key: str) -> int:
        return max((counts.get(key, 0) for _, counts in self.counts), default=0)

    def last_seen(self, key: str) -> float:
        return max((at for at, counts in self.counts if counts.get(key)), default=0.0)

    def look_closer(self) -> None:
        """At finetuning's two workers: who reaches whom, what `kubectl describe` shows, which tokens there are."""
        space = self.space
        with stranger(space) as other:
            space.wait_for("a worker", lambda: ready(space, RELEASE, stage="finetune", group="cpu"), 900, 1)
            head = space.wait_for("the head", lambda: ready(space, RELEASE, stage="finetune", group="head"), 60, 0.5)
            worker = ready(space, RELEASE, stage="finetune", group="cpu")
            self.described.append(space.kubectl("describe", "pods,jobs,rayclusters,configmaps,services"))
            for secret in space.get("secrets"):
                if secret["metadata"]["name"].startswith(RELEASE) or secret["metadata"]["name"] == "storage":
                    for key, value in secret.get("data", {}).items():
                        self.secrets[f"{secret['metadata']['name']}/{key}"] = base64.b64decode(value).decode()
            closed_to_strangers(space, head)
            closed_to_the_outside(space, worker, head, other)
            wrong_token_refused(space, head["metadata"]["name"])


@pytest.fixture(scope="module")
def finished(space: Space, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """The demo, run by the command of `make k8s-demo` under the name `walk`, and watched meanwhile."""
    watch = Watch(space, RELEASE)
    watch.start()
    words = [sys.executable, "k8s/demo.py", "--keep", "--namespace", space.namespace, "--release", RELEASE]
    printed = tmp_path_factory.mktemp("demo") / "printed"
    try:
        with printed.open("w") as file:
            demo = subprocess.Popen(words, cwd=REPOSITORY, stdout=file, stderr=subprocess.STDOUT)
            try:
                watch.look_closer()
                code = demo.wait(1800)
            finally:
                demo.kill()
        watch.printed = printed.read_text()
        assert code == 0, watch.printed
        time.sleep(3)
        watch.ending.set()
        yield watch
    finally:
        watch.ending.set()
        space.helm("uninstall", RELEASE, check=False)


def test_the_command_tells_where_things_are(finished: Watch) -> None:
    assert "the results are in bucket groot" in finished.printed
    assert "checkpoints 20, 40" in finished.printed and "evaluate" in finished.printed


def folder_of(space: Space, root: Any, stage: str) -> Any:
    current = (root / "current.json").read_json()[stage]
    return root / current["folder"]


def test_the_results_are_those_of_one_machine(space: Space, finished: Watch, tmp_path: Path) -> None:
    document = parse_yaml((REPOSITORY / "k8s" / "demo.yaml").read_text(), "demo.yaml")
    experiment = document["experiment"]
    experiment["name"] = RELEASE
    experiment["storage"] = {"uri": str(tmp_path / "outputs")}
    experiment["source"]["uri"] = str(space.module.EPISODES)
    (tmp_path / "local.yaml").write_text(yaml.safe_dump({"experiment": experiment}))
    subprocess.run(
        [sys.executable, "-m", "groot_ray.cli.main", "run", str(tmp_path / "local.yaml")], cwd=REPOSITORY, check=True
    )
    here = open_location(tmp_path / "outputs" / RELEASE)
    with space.demo.storage() as endpoint:
        there = open_location(f"s3://groot/experiments/{RELEASE}", endpoint)
        mine, theirs = (
            json.loads((folder_of(space, root, "convert") / "manifest.json").read_text()) for root in (here, there)
        )
        assert theirs["files_hash"] == mine["files_hash"] and theirs["key"] == mine["key"], (
            "the dataset's bytes are equal"
        )
        assert losses(folder_of(space, there, "finetune")) == pytest.approx(
            losses(folder_of(space, here, "finetune")), rel=1e-4
        )
        ours, others = (
            numbers((folder_of(space, root, "evaluate") / "metrics.json").read_json()) for root in (here, there)
        )
        assert set(ours) == set(others) and len(ours) > 5
        for name, value in ours.items():
            assert others[name] == pytest.approx(value, rel=1e-3, abs=1e-6), name


def losses(folder: Any) -> list[float]:
    """The loss of each logged step of a run, from the newest checkpoint's state."""
    states = sorted(
        (entry for entry in folder.list() if entry.relative.endswith("trainer_state.json")),
        key=lambda entry: (
            int(entry.relative.split("checkpoint-")[1].split("/")[0]) if "checkpoint-" in entry.relative else -1
        ),
    )
    history = states[-1].location.read_json()["log_history"]
    found = [row["loss"] for row in history if "loss" in row]
    assert found
    return found


def numbers(value: Any, place: str = "") -> dict[str, float]:
    """All numbers of a JSON document by their place, times left out."""
    if isinstance(value, dict):
        return {name: n for key, inner in value.items() for name, n in numbers(inner, f"{place}.{key}").items()}
    if isinstance(value, list):
        return {name: n for index, inner in enumerate(value) for name, n in numbers(inner, f"{place}.{index}").items()}
    timed = any(word in place for word in ("seconds", "rate", "time"))
    return {place: float(value)} if isinstance(value, int | float) and not isinstance(value, bool) and not timed else {}


def test_groups_go_from_zero_to_n_and_back(space: Space, finished: Watch) -> None:
    assert finished.most("finetune/cpu") == 2, "two Ray workers in two pods"
    assert finished.most("convert/cpu") >= 1 and finished.most("convert/head") == 1
    assert not [p for p in space.pods(RELEASE, component="ray") if not p["metadata"].get("deletionTimestamp")]
    job = next(j for j in space.get("jobs", "-l", f"groot-ray/release={RELEASE},groot-ray/stage=finetune"))
    assert job["status"]["succeeded"] == 1


def test_no_pod_is_root_or_writes_to_its_root_file_system(finished: Watch) -> None:
    assert len(finished.pods) >= 8
    for name, pod in finished.pods.items():
        assert pod["spec"]["securityContext"]["runAsNonRoot"], name
        for container in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]:
            assert container["securityContext"]["readOnlyRootFilesystem"], f"{name}: {container['name']}"


def test_secrets_are_nowhere(space: Space, finished: Watch) -> None:
    secret = {name: value for name, value in finished.secrets.items() if not name.endswith("AWS_ACCESS_KEY_ID")}
    assert "storage/AWS_SECRET_ACCESS_KEY" in secret and any("auth_token" in name for name in secret), list(secret)
    texts = [*finished.described, finished.printed, space.kubectl("describe", "all,configmaps,jobs,pods")]
    texts.append(space.helm("get", "all", RELEASE).stdout)
    texts += [
        space.kubectl("logs", pod["metadata"]["name"], "--all-containers", check=False) for pod in space.pods(RELEASE)
    ]
    texts.append(json.dumps(list(finished.pods.values())))
    with space.demo.storage() as endpoint:
        for entry in open_location(f"s3://groot/experiments/{RELEASE}", endpoint).list():
            if entry.relative.endswith((".log", ".json")):
                texts.append(entry.location.read_bytes().decode(errors="replace"))
    assert not [(name, text[:200]) for name, value in secret.items() for text in texts if value in text]


def test_helm_test_passes(space: Space, finished: Watch) -> None:
    done = space.helm("test", RELEASE, "--timeout", "5m", "--logs")
    assert "Succeeded" in done.stdout


@pytest.mark.parametrize(("stage", "word"), [("convert", "episodes"), ("finetune", "step 40/40")])
def test_logs_outlive_the_cluster(space: Space, finished: Watch, stage: str, word: str) -> None:
    with space.demo.storage() as endpoint:
        done = space.groot_ray(
            "logs", f"s3://groot/experiments/{RELEASE}", "--stage", stage, env={"AWS_ENDPOINT_URL_S3": endpoint}
        )
    assert done.returncode == 0 and stage in done.stdout and word in done.stdout, done.stdout[-500:] + done.stderr
    assert not re.search("Reporting training result|Found credentials", done.stdout), "lines of libraries' own"


def test_uninstall_leaves_nothing_but_storage(space: Space, finished: Watch) -> None:
    space.helm("uninstall", RELEASE)
    space.wait_for("an empty namespace", lambda: not space.leftovers(), 120)
    with space.demo.storage() as endpoint:
        root = open_location(f"s3://groot/experiments/{RELEASE}", endpoint)
        assert any("checkpoint-40" in entry.relative for entry in root.list()), "the checkpoint is in the bucket"
