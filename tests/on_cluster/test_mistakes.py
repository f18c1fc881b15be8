"""A user's mistakes: one sentence by `doctor` before, one by `cluster status` after `helm install`, and no retries."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from space import REPOSITORY, Space

from groot_ray.yaml_text import parse_yaml

DEMO = parse_yaml((REPOSITORY / "k8s" / "demo.yaml").read_text(), "demo.yaml")


def changed(name: str, **places: Any) -> dict[str, Any]:
    """The demo's document with values at dotted places (written with __)."""
    document = copy.deepcopy(DEMO)
    document["experiment"]["name"] = name
    for place, value in places.items():
        *parents, last = place.split("__")
        node = document
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = value
    return document


def doctor(space: Space, document: dict[str, Any], folder: Path, **env: str) -> str:
    """The doctor's findings, from outside the cluster with a connection to MinIO."""
    (folder / "experiment.yaml").write_text(yaml.safe_dump(document))
    with space.demo.storage() as endpoint:
        done = space.groot_ray(
            "doctor",
            str(folder / "experiment.yaml"),
            "-n",
            space.namespace,
            env={"AWS_ENDPOINT_URL_S3": endpoint, **env},
        )
    assert done.returncode == 64, done.stdout + done.stderr
    return next(line for line in done.stdout.splitlines() if line.startswith("✗"))


def failure(space: Space, release: str, document: dict[str, Any], stage: str = "download") -> str:
    """The advice for a stage that fails after `helm install`; the release is removed again."""
    try:
        space.install(release, values=document)
        space.wait_for(f"{stage} of {release} to fail", lambda: space.states(release).get(stage) == "failed", 300)
        (job,) = space.get("jobs", "-l", f"groot-ray/release={release},groot-ray/stage={stage}")
        assert job["status"]["failed"] == 1, "a mistake is not retried"
        space.wait_for(
            "the stages after it to fail", lambda: list(space.states(release).values()).count("failed") == 4, 120
        )
        lines = space.status(release).splitlines()
        return next(line for line in lines if "!" in line and f"{release}-{stage}" in line)
    finally:
        space.helm("uninstall", release, check=False)


def test_a_missing_bucket(space: Space, tmp_path: Path) -> None:
    document = changed("bucket", experiment__storage__uri="s3://not-there/experiments")
    assert "not-there" in doctor(space, document, tmp_path)
    assert "not-there" in failure(space, "bucket", document)


def test_a_wrong_secret(space: Space, tmp_path: Path) -> None:
    space.demo.secret("wrong", {"AWS_ACCESS_KEY_ID": "groot-demo", "AWS_SECRET_ACCESS_KEY": "this-is-wrong"})
    document = changed("secret", cluster__environment__credentials=["wrong"])
    try:
        said = doctor(space, document, tmp_path, AWS_SECRET_ACCESS_KEY="this-is-wrong")
        assert "secret" in said.lower() or "AWS_SECRET_ACCESS_KEY" in said
        advice = failure(space, "secret", document)
        assert "AWS_SECRET_ACCESS_KEY" in advice and "this-is-wrong" not in advice
    finally:
        space.kubectl("delete", "secret", "wrong")


def test_a_dataset_that_does_not_exist(space: Space, tmp_path: Path) -> None:
    document = changed("dataset", experiment__source__uri="s3://groot/recordings/nothing")
    assert "recordings/nothing" in doctor(space, document, tmp_path)
    assert "recordings/nothing" in failure(space, "dataset", document)


def test_what_kubernetes_refuses(space: Space, tmp_path: Path) -> None:
    head = DEMO["cluster"]["ray"]["head"]
    document = changed("priority", cluster__ray__head={**head, "priority_class": "nope"})
    assert "no PriorityClass nope; cluster.ray.head.priority_class names it" in doctor(space, document, tmp_path)
    assert "no PriorityClass with name nope" in failure(space, "priority", document)
    affinity = {"nodeAffinity": {"preferedDuringScheduling": []}}  # too deep for the values' schema
    document = changed("field", cluster__ray__head={**head, "affinity": affinity})
    assert "preferedDuringScheduling" in failure(space, "field", document)


def test_an_unknown_key(space: Space, tmp_path: Path) -> None:
    document = changed("typo", experiment__training__max_step=3)
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(document))
    done = space.groot_ray("doctor", str(tmp_path / "experiment.yaml"))
    assert done.returncode == 64 and "max_step" in done.stderr and "did you mean 'max_steps'" in done.stderr
    refused = space.install("typo", values=document, check=False)
    assert refused.returncode != 0 and "max_step" in refused.stderr
    assert not space.get("jobs", "-l", "groot-ray/release=typo")


def test_more_gpus_than_any_node_has(space: Space, tmp_path: Path) -> None:
    wanted = {"gpus": 9}
    document = changed(
        "gpus", cluster__ray__gpu={**DEMO["cluster"]["ray"]["gpu"], **wanted}, experiment__training__use_gpu=True
    )
    assert "9 x nvidia.com/gpu" in doctor(space, document, tmp_path)
    document["cluster"]["stages"]["download"] = {"gpu": 1}
    document["cluster"]["queue"] = "none"  # fixed replicas: the pods are requested at once
    try:
        space.install("gpus", values=document)
        said = space.wait_for(
            "the advice", lambda: [line for line in space.status("gpus").splitlines() if "no node has" in line], 180
        )
        assert "9 x nvidia.com/gpu" in said[0]
    finally:
        space.helm("uninstall", "gpus", check=False)


def test_an_image_that_is_not_there(space: Space) -> None:
    document = changed(
        "image",
        cluster__image={"train": "localhost/groot-ray:never-built"},
        cluster__stages__download={"image": "train"},
    )
    try:
        space.install("image", values=document)
        said = space.wait_for(
            "the advice", lambda: [line for line in space.status("image").splitlines() if "cannot pull" in line], 180
        )
        assert "never-built" in said[0] and "pull" in said[0]
    finally:
        space.helm("uninstall", "image", check=False)


def test_an_unknown_release(space: Space) -> None:
    done = space.groot_ray("cluster", "status", "nothing", "-n", space.namespace)
    assert done.returncode == 64 and "no release 'nothing'" in done.stderr


@pytest.mark.parametrize("wrong", ["no-such-context"])
def test_an_unknown_context(wrong: str, tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(changed("context")))
    from groot_ray.cluster.kube.access import from_kubeconfig
    from groot_ray.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match=wrong):
        from_kubeconfig(wrong)
