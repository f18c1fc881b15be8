"""Jobs of the stages: names, order, retries, resources."""

from __future__ import annotations

import copy
import json
from typing import Any

from chart_cases import EXTERNAL, FULL, STATIC
from rendering import Helm, minimal, of_kind, pod_templates, settings

from groot_ray.experiment.cluster import quantity
from groot_ray.experiment.document import build_document


def test_jobs_tell_mistakes_from_accidents(helm4: Helm, case: dict[str, Any]) -> None:
    objects = helm4.render(case)
    stages = [job for job in of_kind(objects, "Job") if "groot-ray/stage" in job["metadata"]["labels"]]
    assert {job["metadata"]["labels"]["groot-ray/stage"] for job in stages} >= {
        "download",
        "convert",
        "finetune",
        "evaluate",
    }
    for job in of_kind(objects, "Job"):
        assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    for job in stages:
        spec = job["spec"]
        assert "activeDeadlineSeconds" not in spec, "waiting must not count"
        fail, ignore = spec["podFailurePolicy"]["rules"]
        assert fail["action"] == "FailJob" and fail["onExitCodes"]["values"] == [2, 64, 65, 66, 70]
        assert fail["onExitCodes"]["containerName"] == spec["template"]["spec"]["containers"][0]["name"]
        assert ignore["action"] == "Ignore"
        assert spec["podReplacementPolicy"] == "Failed", "two pods of a Job must never work at once"


def test_job_names_follow_their_template(helm: Helm) -> None:
    def names(values: dict[str, Any]) -> set[str]:
        return {job["metadata"]["name"] for job in of_kind(helm.render(values), "Job")}

    longer = minimal()
    longer["experiment"]["training"] = {"max_steps": 20}
    assert names(minimal()) == names(minimal())
    assert not names(minimal()) & names(longer)
    assert not names(minimal()) & names(minimal(rerun="a bucket was made")), (
        "another text in rerun creates all Jobs again"
    )


def test_stages_can_be_left_out_and_follow_others(helm: Helm) -> None:
    values = minimal(stages={"convert": {"enabled": False}, "evaluate": {"after": "convert"}})
    stage_settings = settings(helm.render(values))
    assert set(stage_settings) == {"download", "finetune", "evaluate"}
    assert stage_settings["finetune"]["after"] == "convert" and "after_job" not in stage_settings["finetune"], (
        "it looks for its result"
    )
    assert stage_settings["evaluate"]["after"] == "convert"


def test_each_job_waits_for_the_job_before_it(helm4: Helm, case: dict[str, Any]) -> None:
    objects = helm4.render(case)
    jobs = {
        job["metadata"]["labels"]["groot-ray/stage"]: job["metadata"]["name"]
        for job in of_kind(objects, "Job")
        if "groot-ray/stage" in job["metadata"]["labels"]
    }
    for stage, stage_settings in settings(objects).items():
        assert stage_settings.get("after_job") == jobs.get(stage_settings.get("after")), stage
        job = next(job for job in of_kind(objects, "Job") if job["metadata"]["name"] == jobs[stage])
        assert f"--digest={stage_settings['digest']}" in job["spec"]["template"]["spec"]["containers"][0]["args"]


def test_a_jobs_request_is_half_its_limit(helm4: Helm) -> None:
    for memory, half in (("160Mi", 80 * 2**20), ("0.25Gi", 2**27), ("200M", 10**8), ("1048576k", 2**19 * 1000)):
        for _, template in pod_templates(
            helm4.render(minimal(jobs={"memory": memory}, ray=EXTERNAL["cluster"]["ray"]))
        ):
            resources = template["spec"]["containers"][0]["resources"]
            assert resources["limits"]["memory"] == memory and int(resources["requests"]["memory"]) == half
            assert quantity(memory) == 2 * half


def test_jobs_have_a_priority_too(helm4: Helm) -> None:
    for job in of_kind(helm4.render(minimal(jobs={"priority_class": "batch"})), "Job"):
        assert job["spec"]["template"]["spec"]["priorityClassName"] == "batch"


def test_pods_of_helm_test_go_where_jobs_go(helm4: Helm) -> None:
    (job, *_), (pod,) = (of_kind(helm4.render(FULL), kind) for kind in ("Job", "Pod"))
    for key in ("nodeSelector", "tolerations", "priorityClassName"):
        assert pod["spec"][key] == job["spec"]["template"]["spec"][key]


def test_jobs_know_what_the_release_may_have_left_running(helm4: Helm) -> None:
    stage_settings = settings(helm4.render(minimal(stages={"evaluate": {"enabled": False}})))
    assert {tuple(t["left"]) for t in stage_settings.values()} == {("walk-evaluate",)} and not stage_settings[
        "convert"
    ].get("former")
    assert settings(helm4.render(STATIC))["convert"]["former"] == ["walk-convert"]
    assert settings(helm4.render(EXTERNAL))["finetune"]["former"] == ["walk-finetune"]


def test_what_the_job_reads_is_the_document(helm: Helm) -> None:
    values = copy.deepcopy(FULL)
    values["experiment"]["training"] = {"learning_rate": 3e-5, "max_steps": 1000000, "num_workers": [1, 2]}
    document = json.loads(next(item["data"] for item in of_kind(helm.render(values), "ConfigMap"))["document.json"])
    assert build_document(document) == build_document(values)
