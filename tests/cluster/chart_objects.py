"""Checks of rendered objects: the schemas of Kubernetes and KubeRay, the rules for pods, and what policies open."""

from __future__ import annotations

import functools
import json
from typing import Any

import jsonschema
import kubernetes_validate
from rendering import of_kind, pod_templates, settings


def check_objects(objects: list[dict[str, Any]], raycluster: jsonschema.Draft202012Validator) -> None:
    """Everything that is rendered fits the schemas of Kubernetes 1.29 and the newest one, RayClusters KubeRay's."""
    newest = ".".join(kubernetes_validate.latest_version().split(".")[:2])
    for version in ("1.29", newest):
        for item in objects:
            if item["kind"] != "PodMonitor":
                validate(json.dumps(item, sort_keys=True), version)
        for where, template in pod_templates(objects):
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "x", **template["metadata"]},
                "spec": template["spec"],
            }
            validate(json.dumps(pod, sort_keys=True), version)
            check_pod(where, template)
    for stage_settings in settings(objects).values():
        if "manifest" in stage_settings:
            raycluster.validate(stage_settings["manifest"])


@functools.cache
def validate(text: str, version: str) -> None:
    """Validate an object once, however often it is rendered."""
    kubernetes_validate.validate(json.loads(text), version, strict=True)


def check_pod(where: str, template: dict[str, Any]) -> None:
    """The rules of Pod Security's `restricted` level, and ours beyond it."""
    spec = template["spec"]
    security = spec["securityContext"]
    assert (
        security["runAsNonRoot"] is True
        and security["runAsUser"] > 0
        and security["seccompProfile"] == {"type": "RuntimeDefault"}
    ), where
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), where
    allowed = {
        "configMap",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
        "csi",
        "downwardAPI",
    }
    for volume in spec["volumes"]:
        assert set(volume) - {"name"} <= allowed, f"{where}: {volume}"
    names = {volume["name"] for volume in spec["volumes"]}
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        inner = container["securityContext"]
        assert inner["allowPrivilegeEscalation"] is False and inner["readOnlyRootFilesystem"] is True, where
        assert inner["capabilities"] == {"drop": ["ALL"]} and inner["runAsNonRoot"] is True, where
        assert {mount["name"] for mount in container["volumeMounts"]} <= names, where
        assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}, where
        assert {"cpu", "memory"} <= set(container["resources"]["requests"]) and "memory" in container["resources"][
            "limits"
        ], where
        seen = [variable["name"] for variable in container["env"]]
        assert len(seen) == len(set(seen)), f"{where}: a variable is given twice: {seen}"


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(labels.get(term["key"]) in term["values"] for term in selector.get("matchExpressions", []))


def policies(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """NetworkPolicies by the last word of their names."""
    return {item["metadata"]["name"].rsplit("-", 1)[1]: item for item in of_kind(objects, "NetworkPolicy")}


def open_ports(policy: dict[str, Any], direction: str, peer: str = "") -> set[int]:
    """Ports of the rules for a peer, whose text contains `peer`."""
    rules = [rule for rule in policy["spec"].get(direction, []) if peer in json.dumps(rule)]
    return {port["port"] for rule in rules for port in rule.get("ports", [])}
