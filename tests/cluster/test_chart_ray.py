"""Ray clusters of the stages: groups, sizes, queues, and how pods end."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from chart_cases import FULL, QUEUED
from chart_objects import selects
from rendering import Helm, minimal, of_kind, pod_templates, ray_pods, settings

from groot_ray.cluster.kube.settings import StageSettings


def test_groups_scale_from_zero(helm4: Helm) -> None:
    values = minimal(ray={"gpu": {"gpus": 4}})
    values["experiment"]["training"] = {"num_workers": [4, 10]}
    cluster = settings(helm4.render(values))["finetune"]["manifest"]["spec"]
    assert cluster["enableInTreeAutoscaling"] is True and cluster["autoscalerOptions"]["version"] == "v2"
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0", "no worker on the head"
    (gpu,) = cluster["workerGroupSpecs"]
    assert (gpu["replicas"], gpu["minReplicas"], gpu["maxReplicas"]) == (0, 0, 3), "10 GPUs in pods of 4"
    assert gpu["rayStartParams"]["num-gpus"] == "4"
    container = gpu["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "4"
    assert container["image"].endswith("-train")
    for template in (gpu["template"], cluster["headGroupSpec"]["template"]):
        assert template["spec"]["restartPolicy"] == "Never", "autoscaler v2 needs it"


@pytest.mark.parametrize("mode", ["kuberay", "static"])
def test_drivers_know_what_their_cluster_can_grow_to(helm4: Helm, mode: str) -> None:
    """Ray counts only pods that exist: with groups that start at 0 a driver would find neither GPUs nor other nodes."""
    values = minimal(ray={"gpu": {"gpus": 4}, "mode": mode, "token_secret": "ray-token" if mode == "static" else None})
    values["experiment"]["training"] = {"num_workers": 8}
    stage_settings = {name: StageSettings.model_validate(one) for name, one in settings(helm4.render(values)).items()}
    assert stage_settings["finetune"].growth(4) == {"pods": 2, "gpus": 8}
    assert stage_settings["evaluate"].growth(4) == {"pods": 1, "gpus": 4}
    assert stage_settings["convert"].growth(4) == {"pods": 4, "gpus": 0}
    assert stage_settings["download"].growth(4) == {"pods": 0, "gpus": 0}


def test_without_gpus_training_runs_on_the_cpu_group(helm4: Helm) -> None:
    values = minimal()
    values["experiment"]["training"] = {"num_workers": 2, "use_gpu": False}
    stage_settings = settings(helm4.render(values))
    (cpu,) = stage_settings["finetune"]["manifest"]["spec"]["workerGroupSpecs"]
    assert (cpu["groupName"], cpu["maxReplicas"]) == ("cpu", 2)
    assert cpu["template"]["spec"]["containers"][0]["image"].endswith("-train")
    assert stage_settings["evaluate"]["manifest"]["spec"]["workerGroupSpecs"][0]["groupName"] == "cpu"


def test_a_lone_head_may_work(helm4: Helm) -> None:
    stage_settings = settings(helm4.render(minimal()))
    assert stage_settings["download"]["manifest"]["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "2"
    assert stage_settings["download"]["manifest"]["spec"]["workerGroupSpecs"] == []


def test_a_queue_gets_a_gang(helm4: Helm) -> None:
    objects = helm4.render(QUEUED)
    for name, stage_settings in settings(objects).items():
        cluster = stage_settings["manifest"]
        assert cluster["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "robots", name
        assert "enableInTreeAutoscaling" not in cluster["spec"], "Kueue refuses clusters that scale themselves"
        for group in cluster["spec"]["workerGroupSpecs"]:
            assert group["replicas"] == group["minReplicas"] == group["maxReplicas"] > 0
    for job in of_kind(objects, "Job"):
        assert "kueue.x-k8s.io/queue-name" not in job["metadata"]["labels"]


def test_grace_periods_fit_each_other(helm4: Helm) -> None:
    for stage, stage_settings in settings(helm4.render(FULL)).items():
        for where, template in ray_pods(stage, stage_settings["manifest"]):
            environment = {v["name"]: v.get("value") for v in template["spec"]["containers"][0]["env"]}
            drain = float(environment["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
            assert 90 < drain < template["spec"]["terminationGracePeriodSeconds"], where


def test_sigterm_reaches_ray(helm4: Helm, case: dict[str, Any]) -> None:
    for where, template in pod_templates(helm4.render(case)):
        if template["metadata"]["labels"].get("groot-ray/component") == "ray":
            (script,) = template["spec"]["containers"][0]["args"]
            assert "exec " in script.rsplit(";", 1)[-1], f"{where}: a shell as first process keeps SIGTERM to itself"
    for stage_settings in settings(helm4.render(case)).values():
        if "manifest" in stage_settings:
            assert stage_settings["manifest"]["metadata"]["annotations"]["ray.io/overwrite-container-cmd"] == "true"


def test_spread_constraints_count_their_own_group(helm4: Helm) -> None:
    (template,) = [
        t for w, t in ray_pods("finetune", settings(helm4.render(FULL))["finetune"]["manifest"]) if w.endswith("gpu")
    ]
    (constraint,) = template["spec"]["topologySpreadConstraints"]
    assert selects(constraint["labelSelector"], template["metadata"]["labels"])


@pytest.mark.parametrize("mode", ["kuberay", "static"])
def test_parameters_of_ray_start_arrive_as_they_are(helm4: Helm, mode: str) -> None:
    given = {"resources": '{"robot": 1}', "labels": "it's=$HOME; `x`", "num-cpus": "3"}
    objects = helm4.render(minimal(ray={"mode": mode, "token_secret": "ray-token", "cpu": {"ray_start_params": given}}))
    if mode == "static":
        sets = {item["metadata"]["name"]: item for item in of_kind(objects, "StatefulSet")}
        text = sets["walk-convert-r1-cpu"]["spec"]["template"]["spec"]["containers"][0]["args"][0].rpartition(
            "exec ray "
        )[2]
    else:
        (group,) = settings(objects)["convert"]["manifest"]["spec"]["workerGroupSpecs"]
        text = " ".join(f"--{key}={value} " for key, value in group["rayStartParams"].items())
    seen = subprocess.run(["bash", "-c", f"printf '%s\\n' {text}"], capture_output=True, text=True)
    assert {f"--{key}={value}" for key, value in given.items()} <= set(seen.stdout.splitlines()), seen


def test_the_time_to_drain_is_the_charts(helm4: Helm) -> None:
    variables = {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "9999"}
    for where, template in pod_templates(helm4.render(minimal(environment={"variables": variables}))):
        for container in template["spec"]["containers"]:
            times = [v["value"] for v in container["env"] if v["name"] in variables]
            assert times == (["75"] if container["name"].startswith("ray-") else ["9999"]), where
