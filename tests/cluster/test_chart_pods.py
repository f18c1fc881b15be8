"""Pods: their environment, volumes and users."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
from chart_cases import CASES, NASTY
from chart_objects import check_objects
from rendering import Helm, minimal, of_kind, pod_templates, settings


@pytest.mark.parametrize("name", ["overlap", "static overlap"])
def test_the_most_specific_variable_wins(helm4: Helm, name: str) -> None:
    objects = helm4.render(CASES[name])
    seen = {}
    for where, template in pod_templates(objects):
        environment = template["spec"]["containers"][0]["env"]
        names = [variable["name"] for variable in environment]
        assert len(names) == len(set(names)), where
        values = {v["name"]: v.get("value") for v in environment}
        assert values["HOME"] == values["NO_PROXY"] == values["SSL_CERT_FILE"] == "everywhere", where
        assert values["http_proxy"] == "http://proxy:3128" and values["PYTHONUNBUFFERED"] == "everywhere"
        if where.startswith("Job/"):
            assert values["JOB_NAME"] is None and values["TMPDIR"] == "everywhere", "named by Kubernetes"
        seen[where.replace("StatefulSet/walk-", "").replace("RayCluster ", "").replace("-r1-", "/")] = values
    assert seen["finetune/gpu"]["NCCL_DEBUG"] == "stage" and seen["evaluate/gpu"]["NCCL_DEBUG"] == "group"
    assert seen["convert/cpu"]["NCCL_DEBUG"] == "everywhere"
    assert seen["finetune/gpu"]["TMPDIR"] == "group" and seen["finetune/gpu"]["GROOT_RAY_RELEASE"] == "walk"
    assert seen["finetune/head"]["RAY_AUTH_MODE"] == ("token" if name.startswith("static") else "everywhere")


def test_hosts_of_the_cluster_are_reached_without_the_proxy(helm4: Helm) -> None:
    def direct(endpoint: str | None, **environment: Any) -> set[str]:
        values = minimal(environment={"proxy": "http://proxy:3128", **environment})
        values["experiment"]["storage"]["endpoint"] = endpoint
        (job, *_) = of_kind(helm4.render(values), "Job")
        variables = {v["name"]: v.get("value") for v in job["spec"]["template"]["spec"]["containers"][0]["env"]}
        assert variables["NO_PROXY"] == variables["no_proxy"]
        return set(variables["NO_PROXY"].split(","))

    always = {"localhost", "127.0.0.1", ".svc", ".cluster.local", "$(KUBERNETES_SERVICE_HOST)"}
    assert direct("http://minio:9000") == always | {"minio", ".robots"}, "walk-convert-head-svc.robots is Ray's head"
    assert direct("http://minio.storage.svc:9000") == always | {"minio.storage.svc", ".robots"}
    assert direct("https://s3.example") == direct(None) == always | {".robots"}
    assert "minio" in direct(None, variables={"AWS_ENDPOINT_URL_S3": "http://minio:9000"})
    assert "10.0.0.0/8" in direct(None, no_proxy=["10.0.0.0/8"])


def test_scratch_takes_temporary_files_and_what_ray_spills(helm4: Helm) -> None:
    stage_settings = settings(helm4.render(minimal(ray={"gpu": {"tmp_size": "3Gi"}})))["finetune"]["manifest"]["spec"]
    for group in (stage_settings["headGroupSpec"], *stage_settings["workerGroupSpecs"]):
        assert group["rayStartParams"]["object-spilling-directory"] == "/scratch"
        (container,) = group["template"]["spec"]["containers"]
        environment = {v["name"]: v.get("value") for v in container["env"]}
        assert environment["TMPDIR"] == environment["HOME"] == "/scratch"
        assert environment["RAY_TMPDIR"] == "/tmp", "the driver's log is read from /tmp/ray; sockets need short paths"
    volumes = {v["name"]: v for v in stage_settings["workerGroupSpecs"][0]["template"]["spec"]["volumes"]}
    assert volumes["tmp"]["emptyDir"] == {"sizeLimit": "3Gi"}


def test_no_secret_is_written_down(helm4: Helm, case: dict[str, Any]) -> None:
    assert not of_kind(helm4.render(case), "Secret")
    for where, template in pod_templates(helm4.render(case)):
        for container in template["spec"]["containers"]:
            for variable in container["env"]:
                if re.search("TOKEN$|SECRET|PASSWORD", variable["name"]):
                    assert "value" not in variable and "secretKeyRef" in variable["valueFrom"], where


def test_hostile_text_stays_text(helm: Helm, raycluster: jsonschema.Draft202012Validator) -> None:
    values = minimal(
        environment={"variables": {"NOTE": NASTY}},
        ray={"head": {"env": {"NOTE_HEAD": NASTY}, "annotations": {"note": NASTY}, "node_selector": {"true": "false"}}},
        stages={"convert": {"env": {"YES": NASTY}}},
    )
    values["experiment"]["source"]["uri"] = "s3://bucket/" + NASTY
    values["experiment"]["embodiment"] = {"name": NASTY, "null": None, "on": "off", "n": 10**9, "x": 1e-4}
    values["experiment"]["model"] = {"base": None, "size": "tiny"}
    objects = helm.render(values)
    check_objects(objects, raycluster)
    data = next(item["data"] for item in of_kind(objects, "ConfigMap"))
    document = json.loads(data["document.json"])
    assert document["experiment"] == values["experiment"], "the Job reads exactly what was given, nulls included"
    head = settings(objects)["convert"]["manifest"]["spec"]["headGroupSpec"]["template"]
    environment = {v["name"]: v.get("value") for v in head["spec"]["containers"][0]["env"]}
    assert environment["NOTE"] == environment["NOTE_HEAD"] == environment["YES"] == NASTY
    assert head["metadata"]["annotations"]["note"] == NASTY


def test_the_users_of_pods_can_be_the_clusters_choice(helm4: Helm) -> None:
    for where, template in pod_templates(helm4.render(minimal(security={"run_as_user": None, "run_as_group": None}))):
        stage_settings = template["spec"]["securityContext"]
        assert stage_settings["runAsNonRoot"] and not {"runAsUser", "runAsGroup", "fsGroup"} & set(stage_settings), (
            where
        )
