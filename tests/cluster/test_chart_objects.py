"""Rendered objects: they fit Kubernetes, have names of their own, select each other, and may do little."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import jsonschema
import pytest
from chart_objects import check_objects, selects
from rendering import Helm, minimal, of_kind, pod_templates, settings

from groot_ray.cluster.kube.release import short_name

DNS_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"


def test_all_objects_fit_kubernetes(
    helm: Helm, case: dict[str, Any], raycluster: jsonschema.Draft202012Validator
) -> None:
    objects = helm.render(case)
    check_objects(objects, raycluster)


@pytest.mark.parametrize(
    "release",
    [
        "w",
        "a-release-with-a-name-that-is-quite-long-but-allowed",
        "my.walk",
        "1walk",
        "7",
        "2024-11.robots.walk.once.more",
        "aaaaaaaaaaaaaaaaa.bbbbbbbbbb",
        "aaaaaaaaaaaaaaaa--bbbbbbbbbb",
    ],
)
def test_names_fit(helm4: Helm, case: dict[str, Any], release: str) -> None:
    objects = helm4.render(case, release)
    others = helm4.render(case, release[:-1] + "x")
    names = [(item["kind"], item["metadata"]["name"]) for item in objects]
    assert len(names) == len(set(names)), "two objects of one kind have one name"
    assert not set(names) & {(item["kind"], item["metadata"]["name"]) for item in others}, "two releases share a name"
    for kind, name in names:
        limit = {"StatefulSet": 52, "Job": 57}.get(kind, 63)
        assert len(name) <= limit and re.fullmatch(DNS_1035, name), (kind, name)
    for stage_settings in settings(objects).values():
        assert re.fullmatch(DNS_1035, stage_settings["cluster"]) and stage_settings["release"] == short_name(release)
        assert len(stage_settings["cluster"]) <= 47, "KubeRay allows no longer name"
    for _, template in pod_templates(objects):
        for key, value in template["metadata"]["labels"].items():
            assert len(value) <= 63 and re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?", value), (
                key,
                value,
            )


def test_selectors_match(helm4: Helm, case: dict[str, Any]) -> None:
    objects = helm4.render(case)
    pods = [template["metadata"]["labels"] for _, template in pod_templates(objects)]
    for policy in of_kind(objects, "NetworkPolicy"):
        selector = policy["spec"]["podSelector"]
        chosen = [labels for labels in pods if selects(selector, labels)]
        if (
            policy["metadata"]["name"].endswith("-ray")
            and not of_kind(objects, "StatefulSet")
            and not settings(objects)["convert"].get("manifest")
        ):
            continue  # external: the Ray pods are somebody else's
        assert chosen, policy["metadata"]["name"]
    if of_kind(objects, "NetworkPolicy"):
        for labels in pods:
            chosen_by = [p for p in of_kind(objects, "NetworkPolicy") if selects(p["spec"]["podSelector"], labels)]
            assert any("Ingress" in p["spec"]["policyTypes"] for p in chosen_by), f"open to everybody: {labels}"
    for item in of_kind(objects, "StatefulSet"):
        assert selects(item["spec"]["selector"], item["spec"]["template"]["metadata"]["labels"])
        assert item["spec"]["serviceName"] in {service["metadata"]["name"] for service in of_kind(objects, "Service")}
        assert item["spec"]["replicas"] == 0, "the stage's Job scales"
    for service in of_kind(objects, "Service"):
        heads = [
            s
            for s in of_kind(objects, "StatefulSet")
            if selects({"matchLabels": service["spec"]["selector"]}, s["spec"]["template"]["metadata"]["labels"])
        ]
        assert len(heads) == 1, "one head behind each service"
        ports = {port["name"] for port in heads[0]["spec"]["template"]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for monitor in of_kind(objects, "PodMonitor"):
        chosen_templates = [
            t for _, t in pod_templates(objects) if selects(monitor["spec"]["selector"], t["metadata"]["labels"])
        ]
        assert chosen_templates
        for template in chosen_templates:
            assert "metrics" in {port["name"] for port in template["spec"]["containers"][0]["ports"]}


def test_roles_are_small(helm4: Helm, case: dict[str, Any]) -> None:
    objects = helm4.render(case)
    stage_settings = settings(objects)
    made = {(item["kind"].lower() + "s", item["metadata"]["name"]) for item in objects}
    for rule in [rule for role in of_kind(objects, "Role") for rule in role["rules"]]:
        assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
        if not set(rule["verbs"]) <= {"create", "list"}:
            assert rule["resourceNames"], f"{rule} is for all objects of the namespace"
        for kind in rule["resources"]:
            if kind.split("/")[0] in ("jobs", "statefulsets", "services", "configmaps"):
                assert {(kind.split("/")[0], name) for name in rule["resourceNames"]} <= made, "and for none of others"
            assert kind in ("jobs/status", "statefulsets/status", "services/status", "statefulsets/scale") or not (
                {"patch", "update"} & set(rule["verbs"])
            ), "a specification is never changed"
        if "secrets" in rule["resources"]:
            assert set(rule["resourceNames"]) == {t["cluster"] for t in stage_settings.values()} and rule["verbs"] == [
                "get"
            ]
        if {"rayclusters"} & set(rule["resources"]) and rule["verbs"] != ["create"]:
            left = {name for t in stage_settings.values() for name in t["left"]}
            assert (
                set(rule["resourceNames"]) == {f"{t['release']}-{stage}" for stage, t in stage_settings.items()} | left
            )
        assert not {"statefulsets", "deployments"} & set(rule["resources"]), (
            "static pods are scaled through the scale subresource alone"
        )


def test_all_that_changes_its_name_gets_an_owner(helm4: Helm, case: dict[str, Any]) -> None:
    """What an upgrade calls otherwise would be left behind when the upgrade fails half-way."""
    objects = helm4.render(case)
    data = next(item["data"] for item in of_kind(objects, "ConfigMap") if "document.json" in item["data"])
    containers = [job["spec"]["template"]["spec"]["containers"][0] for job in of_kind(objects, "Job")]
    rights = json.dumps([role["rules"] for role in of_kind(objects, "Role")])
    if case["cluster"].get("jobs", {}).get("keep"):  # Argo CD prunes nothing that has an owner
        assert "owned.json" not in data and "/status" not in rights
        assert all(container["command"] == ["groot-ray"] for container in containers)
        return
    owned = json.loads(data["owned.json"])
    assert owned["owner"] in {item["metadata"]["name"] for item in of_kind(objects, "ConfigMap")}
    for kind in ("Job", "StatefulSet", "Service"):
        assert {item["metadata"]["name"] for item in of_kind(objects, kind)} == set(owned[f"{kind.lower()}s"])
    longer = copy.deepcopy(case)
    longer["experiment"]["training"] = {"max_steps": 20}
    names = {(item["kind"], item["metadata"]["name"]) for item in objects}
    later = {(i["kind"], i["metadata"]["name"]) for i in helm4.render(longer, "walk", "robots", "--is-upgrade")}
    assert {kind for kind, _ in names - later} <= {"Job", "StatefulSet", "Service"}
    assert "jobs/status" in rights
    for container in containers:
        words = ["python", "-m", "groot_ray.cluster.ownership", "/etc/groot-ray/release/owned.json", "groot-ray"]
        assert container["command"] == words and container["args"][0] == "job"


def test_only_the_autoscaler_has_a_token(helm4: Helm, case: dict[str, Any]) -> None:
    for where, template in pod_templates(helm4.render(case)):
        if template["metadata"]["labels"].get("groot-ray/component") == "ray":
            mounted = template["spec"].get("automountServiceAccountToken", True)
            assert mounted == (where.endswith("/head") and case["cluster"].get("queue") is None), where


def test_workload_identity_is_that_of_all_pods(helm4: Helm) -> None:
    objects = helm4.render(minimal(security={"service_account": "s3-reader"}))
    pods = dict(pod_templates(objects))
    assert {template["spec"]["serviceAccountName"] for template in pods.values()} == {"s3-reader"} and len(pods) > 8
    (binding,) = of_kind(objects, "RoleBinding")
    assert [subject["name"] for subject in binding["subjects"]] == ["s3-reader"]
    assert not of_kind(objects, "ServiceAccount"), "it exists"
