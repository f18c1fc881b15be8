"""NetworkPolicies: who reaches Ray, and what pods reach."""

from __future__ import annotations

import json

import pytest
from chart_cases import STATIC
from chart_objects import open_ports, policies
from rendering import Helm, minimal

from groot_ray.cluster.ray.jobs import normal_address


def test_ray_ports_are_closed_to_strangers(helm4: Helm) -> None:
    found = policies(helm4.render(minimal()))
    ray, job = found["ray"], found["job"]
    assert job["spec"]["ingress"] == [] and set(job["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    for rule in ray["spec"]["ingress"]:
        for peer in rule["from"]:
            assert peer["podSelector"]["matchLabels"]["groot-ray/release"] == "walk"
    assert [rule["ports"] for rule in ray["spec"]["ingress"] if "ports" in rule] == [
        [{"protocol": "TCP", "port": 8265}]
    ]
    everywhere = [rule for rule in ray["spec"]["egress"] if not rule.get("to")]
    assert all(rule.get("ports") for rule in everywhere), "no way out on every port"


def test_storage_ports_follow_the_endpoints(helm4: Helm) -> None:
    values = minimal(environment={"variables": {"AWS_ENDPOINT_URL_S3": "http://minio.minio.svc:9000"}})
    values["experiment"]["storage"]["endpoint"] = "http://ceph.example:7480"
    found = policies(helm4.render(values))
    for name in ("ray", "job"):
        assert {9000, 7480, 443} <= open_ports(found[name], "egress")


@pytest.mark.parametrize(
    ("address", "port"),
    [
        ("http://ray.example:9265", 9265),
        ("http://ray.example", 8265),
        ("http://ray.example/", 8265),
        ("http://ray.example/ray", 80),
        ("https://ray.example", 443),
        ("http://[fd00::1]:9265", 9265),
    ],
)
def test_jobs_reach_an_external_ray_wherever_storage_is(helm4: Helm, address: str, port: int) -> None:
    store = [{"ipBlock": {"cidr": "10.1.2.3/32"}}]
    network = {"storage_ports": [9000], "storage_peers": store, "api_ports": []}
    ray = {"mode": "external", "address": address, "token_secret": "ray-token"}
    found = policies(helm4.render(minimal(ray=ray, security={"network": network})))
    assert normal_address(address).endswith(f":{port}") or port in (80, 443), "what the Job asks"
    assert open_ports(found["job"], "egress", "10.1.2.3/32") == {9000}, "nothing but storage"
    assert {"ports": [{"protocol": "TCP", "port": port}]} in found["job"]["spec"]["egress"]
    assert {"ports": [{"protocol": "TCP", "port": port}]} not in found["ray"]["spec"]["egress"]


def test_only_jobs_and_the_autoscaler_reach_the_api_server(helm4: Helm) -> None:
    closed = {"network": {"storage_ports": [], "api_ports": [6443]}}
    keys = {"credentials": ["storage"]}
    values = minimal(security=closed, environment=keys)
    values["experiment"]["storage"]["endpoint"] = "http://minio:9000"
    found = policies(helm4.render(values))
    assert open_ports(found["ray"], "egress") == {53, 9000}
    assert open_ports(found["job"], "egress") == {53, 8265, 9000, 6443}
    assert open_ports(found["autoscaler"], "egress") == {6443}
    assert found["autoscaler"]["spec"]["podSelector"]["matchLabels"]["groot-ray/group"] == "head"
    static = {**STATIC["cluster"], "security": closed, "environment": keys}
    assert "autoscaler" not in policies(helm4.render({**values, "cluster": static})), "nobody scales but the Job"
    shut = policies(helm4.render(minimal(security={"network": {"storage_ports": [], "api_ports": []}})))
    for policy in shut.values():
        assert all(rule.get("ports") or rule.get("to") for rule in policy["spec"]["egress"]), "an empty rule opens all"


def test_dashboard_and_metrics_have_peers_of_their_own(helm4: Helm) -> None:
    seen = [{"podSelector": {"matchLabels": {"who": name}}} for name in ("people", "prometheus")]
    dns = [{"ipBlock": {"cidr": "10.96.0.10/32"}}]
    network = {"allow_from": seen[:1], "metrics_from": seen[1:], "dns_peers": dns}
    ray = policies(helm4.render(minimal(security={"network": network})))["ray"]
    assert open_ports(ray, "ingress", "people") == {8265} and open_ports(ray, "ingress", "prometheus") == {8080}
    assert open_ports(ray, "egress", "10.96.0.10/32") == {53}
    assert open_ports(policies(helm4.render(minimal()))["ray"], "ingress") == {8265}, "metrics are closed at first"
    monitored = policies(helm4.render(minimal(monitoring={"pod_monitor": True})))["ray"]
    (rule,) = [rule for rule in monitored["spec"]["ingress"] if "prometheus" in json.dumps(rule)]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8080}], "never the job port"
    assert rule["from"] == [
        {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}}
    ]


@pytest.mark.parametrize("credentials", [[], ["storage"]], ids=["none", "a Secret"])
def test_where_no_secret_is_named_pods_reach_the_clouds_credentials(helm4: Helm, credentials: list[str]) -> None:
    found = policies(helm4.render(minimal(environment={"credentials": credentials})))
    for component in ("ray", "job"):
        for address in ("169.254.169.254/32", "169.254.170.23/32"):  # of nodes; of EKS Pod Identity
            assert open_ports(found[component], "egress", address) == (set() if credentials else {80})
