"""The chart, rendered by Helm 3 and Helm 4: every example, hostile values, Kubernetes' schemas and what schemas miss."""

from __future__ import annotations

import copy
import functools
import importlib.util
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from rendering import CHART, REPOSITORY, Helm, minimal, of_kind, pod_templates, put, ray_pods, settings

from groot_ray.cluster.job.settings import StageSettings
from groot_ray.cluster.kube.release import short_name
from groot_ray.cluster.ray.jobs import normal_address
from groot_ray.embodiment import load_embodiment
from groot_ray.errors import ConfigurationError
from groot_ray.experiment.cluster import quantity
from groot_ray.experiment.document import build_document, load_document
from groot_ray.experiment.render import rendered

CLUSTERED = [*sorted((REPOSITORY / "examples").glob("*kubernetes*.yaml")), REPOSITORY / "k8s" / "demo.yaml"]
EXPERIMENTS = sorted((REPOSITORY / "examples").glob("*.yaml"))
FULL = minimal(
    image={"pull_secrets": ["registry"]},
    ray={
        "save_seconds": 90,
        "gpu": {
            "cpus": 16,
            "gpus": 4,
            "memory": "200Gi",
            "shared_memory": "32Gi",
            "object_store_memory": 8 * 2**30,
            "node_selector": {"cloud.google.com/gke-spot": "true"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}, {"key": "spot", "operator": "Exists"}],
            "topology_spread": [
                {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}
            ],
            "priority_class": "training",
            "runtime_class": "nvidia",
            "cache": {"size": "500Gi", "storage_class": "local-nvme"},
            "annotations": {"note": "a: b"},
            "labels": {"team": "robots"},
            "env": {"NCCL_DEBUG": "INFO"},
            "resources": {"rdma/hca": "1"},
            "ray_start_params": {"verbose": "true"},
        },
    },
    stages={
        "finetune": {"gpu": 2, "deadline": 3600, "retries": 3, "env": {"NO": "yes: no"}},
        "tune": {"after": "finetune", "gpu": 1, "image": "train"},
    },
    jobs={
        "ttl": 60,
        "node_selector": {"pool": "system"},
        "tolerations": [{"operator": "Exists"}],
        "priority_class": "jobs",
    },
    environment={
        "credentials": ["storage-keys"],
        "config_maps": ["site"],
        "variables": {"AWS_ENDPOINT_URL_S3": "http://minio.minio.svc:9000"},
        "proxy": "http://proxy:3128",
        "no_proxy": ["10.0.0.0/8"],
        "ca_bundle": "site-ca",
    },
    volumes={
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        "mounts": [{"name": "data", "mountPath": "/data", "readOnly": True}],
    },
    security={
        "service_account": "workload-identity",
        "network": {
            "allow_from": [{"namespaceSelector": {"matchLabels": {"team": "robots"}}}],
            "storage_peers": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
            "api_peers": [{"ipBlock": {"cidr": "10.1.0.0/16"}}],
            "egress": [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}],
        },
    },
    monitoring={"pod_monitor": True, "pod_monitor_labels": {"release": "prometheus"}, "dashboard": True},
)
STATIC = minimal(ray={"mode": "static", "token_secret": "ray-token"})
EXTERNAL = minimal(ray={"mode": "external", "address": "http://ray.example:8265", "token_secret": "ray-token"})
QUEUED = minimal(queue="robots", stages={"convert": {"cpu": 3}})
KEPT = minimal(jobs={"keep": True}, security={"network": {"enabled": False}})
SAME = ("HOME", "TMPDIR", "NCCL_DEBUG", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "PYTHONUNBUFFERED", "RAY_AUTH_MODE")
OVERLAP: dict[str, Any] = {
    "environment": {
        "variables": {name: "everywhere" for name in SAME},
        "proxy": "http://proxy:3128",
        "ca_bundle": "site-ca",
    },
    "stages": {"finetune": {"env": {"NCCL_DEBUG": "stage", "JOB_NAME": "x"}}},
}
GPU_ENV = {"env": {"NCCL_DEBUG": "group", "TMPDIR": "group", "GROOT_RAY_RELEASE": "evil"}}
CASES = {
    "minimal": minimal(),
    "full": FULL,
    "static": STATIC,
    "external": EXTERNAL,
    "queue": QUEUED,
    "kept": KEPT,
    "overlap": minimal(**OVERLAP, ray={"gpu": GPU_ENV}),
    "static overlap": minimal(**OVERLAP, ray={"mode": "static", "token_secret": "ray-token", "gpu": GPU_ENV}),
}
DNS_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
NASTY = "quote ' and \" colon: newline\n  - {brace} #hash %d {{ .Values }} ümläut 日本 \\ \t$(HOME) `x` !!python/object"


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Values of one case."""
    return copy.deepcopy(CASES[request.param])


def test_the_generated_files_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("generate", CHART.parent / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    stale = [name for name, text in module.files().items() if (CHART / name).read_text(encoding="utf-8") != text]
    assert not stale, f"run python charts/generate.py: {stale}"


def test_the_plain_manifests_are_up_to_date(helm4: Helm) -> None:
    done = helm4.run(
        "template", "demo", str(CHART), "-n", "groot-demo", "--no-hooks", values=[REPOSITORY / "k8s" / "demo.yaml"]
    )
    committed = (REPOSITORY / "k8s" / "demo-manifests.yaml").read_text().split("\n---\n", 1)[1]
    assert committed == done.stdout.split("---\n", 1)[1], "run make chart"


def test_values_are_the_defaults_of_the_schema() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    document = build_document({**minimal(), "cluster": values["cluster"]})
    assert document.cluster == build_document(minimal()).cluster


def test_lint_is_strict(helm: Helm, case: dict[str, Any]) -> None:
    done = helm.run("lint", "--strict", str(CHART), values=case)
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_objects_fit_kubernetes(
    helm: Helm, case: dict[str, Any], raycluster: jsonschema.Draft202012Validator
) -> None:
    objects = helm.render(case)
    check_objects(objects, raycluster)


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
    for told in settings(objects).values():
        if "manifest" in told:
            raycluster.validate(told["manifest"])


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
    assert not names(minimal()) & names(minimal(rerun="a bucket was made")), "any text in rerun makes all Jobs anew"


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
    for told in settings(objects).values():
        assert re.fullmatch(DNS_1035, told["cluster"]) and told["release"] == short_name(release)
        assert len(told["cluster"]) <= 47, "KubeRay allows no longer name"
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
        chosen = [labels for labels in pods if _selects(selector, labels)]
        if (
            policy["metadata"]["name"].endswith("-ray")
            and not of_kind(objects, "StatefulSet")
            and not settings(objects)["convert"].get("manifest")
        ):
            continue  # external: the Ray pods are somebody else's
        assert chosen, policy["metadata"]["name"]
    if of_kind(objects, "NetworkPolicy"):
        for labels in pods:
            chosen_by = [p for p in of_kind(objects, "NetworkPolicy") if _selects(p["spec"]["podSelector"], labels)]
            assert any("Ingress" in p["spec"]["policyTypes"] for p in chosen_by), f"open to everybody: {labels}"
    for item in of_kind(objects, "StatefulSet"):
        assert _selects(item["spec"]["selector"], item["spec"]["template"]["metadata"]["labels"])
        assert item["spec"]["serviceName"] in {service["metadata"]["name"] for service in of_kind(objects, "Service")}
        assert item["spec"]["replicas"] == 0, "the stage's Job scales"
    for service in of_kind(objects, "Service"):
        heads = [
            s
            for s in of_kind(objects, "StatefulSet")
            if _selects({"matchLabels": service["spec"]["selector"]}, s["spec"]["template"]["metadata"]["labels"])
        ]
        assert len(heads) == 1, "one head behind each service"
        ports = {port["name"] for port in heads[0]["spec"]["template"]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for monitor in of_kind(objects, "PodMonitor"):
        chosen_templates = [
            t for _, t in pod_templates(objects) if _selects(monitor["spec"]["selector"], t["metadata"]["labels"])
        ]
        assert chosen_templates
        for template in chosen_templates:
            assert "metrics" in {port["name"] for port in template["spec"]["containers"][0]["ports"]}


def _selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(labels.get(term["key"]) in term["values"] for term in selector.get("matchExpressions", []))


def policies(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """NetworkPolicies by the last word of their names."""
    return {item["metadata"]["name"].rsplit("-", 1)[1]: item for item in of_kind(objects, "NetworkPolicy")}


def open_ports(policy: dict[str, Any], direction: str, peer: str = "") -> set[int]:
    """Ports of the rules for a peer, whose text holds `peer`."""
    rules = [rule for rule in policy["spec"].get(direction, []) if peer in json.dumps(rule)]
    return {port["port"] for rule in rules for port in rule.get("ports", [])}


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
    """Ray itself counts only the pods that are there: with groups from 0 a driver would find neither GPUs nor other nodes."""
    values = minimal(ray={"gpu": {"gpus": 4}, "mode": mode, "token_secret": "ray-token" if mode == "static" else None})
    values["experiment"]["training"] = {"num_workers": 8}
    told = {name: StageSettings.model_validate(one) for name, one in settings(helm4.render(values)).items()}
    assert told["finetune"].growth(4) == {"pods": 2, "gpus": 8}
    assert told["evaluate"].growth(4) == {"pods": 1, "gpus": 4}
    assert told["convert"].growth(4) == {"pods": 4, "gpus": 0}
    assert told["download"].growth(4) == {"pods": 0, "gpus": 0}


def test_without_gpus_training_runs_on_the_cpu_group(helm4: Helm) -> None:
    values = minimal()
    values["experiment"]["training"] = {"num_workers": 2, "use_gpu": False}
    told = settings(helm4.render(values))
    (cpu,) = told["finetune"]["manifest"]["spec"]["workerGroupSpecs"]
    assert (cpu["groupName"], cpu["maxReplicas"]) == ("cpu", 2)
    assert cpu["template"]["spec"]["containers"][0]["image"].endswith("-train")
    assert told["evaluate"]["manifest"]["spec"]["workerGroupSpecs"][0]["groupName"] == "cpu"


def test_a_lone_head_may_work(helm4: Helm) -> None:
    told = settings(helm4.render(minimal()))
    assert told["download"]["manifest"]["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "2"
    assert told["download"]["manifest"]["spec"]["workerGroupSpecs"] == []


def test_a_queue_gets_a_gang(helm4: Helm) -> None:
    objects = helm4.render(QUEUED)
    for name, told in settings(objects).items():
        cluster = told["manifest"]
        assert cluster["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "robots", name
        assert "enableInTreeAutoscaling" not in cluster["spec"], "Kueue refuses clusters that scale themselves"
        for group in cluster["spec"]["workerGroupSpecs"]:
            assert group["replicas"] == group["minReplicas"] == group["maxReplicas"] > 0
    for job in of_kind(objects, "Job"):
        assert "kueue.x-k8s.io/queue-name" not in job["metadata"]["labels"]


def test_grace_periods_fit_each_other(helm4: Helm) -> None:
    for stage, told in settings(helm4.render(FULL)).items():
        for where, template in ray_pods(stage, told["manifest"]):
            environment = {v["name"]: v.get("value") for v in template["spec"]["containers"][0]["env"]}
            drain = float(environment["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
            assert 90 < drain < template["spec"]["terminationGracePeriodSeconds"], where


def test_sigterm_reaches_ray(helm4: Helm, case: dict[str, Any]) -> None:
    for where, template in pod_templates(helm4.render(case)):
        if template["metadata"]["labels"].get("groot-ray/component") == "ray":
            (script,) = template["spec"]["containers"][0]["args"]
            assert "exec " in script.rsplit(";", 1)[-1], f"{where}: a shell as first process keeps SIGTERM to itself"
    for told in settings(helm4.render(case)).values():
        if "manifest" in told:
            assert told["manifest"]["metadata"]["annotations"]["ray.io/overwrite-container-cmd"] == "true"


def test_spread_constraints_count_their_own_group(helm4: Helm) -> None:
    (template,) = [
        t for w, t in ray_pods("finetune", settings(helm4.render(FULL))["finetune"]["manifest"]) if w.endswith("gpu")
    ]
    (constraint,) = template["spec"]["topologySpreadConstraints"]
    assert _selects(constraint["labelSelector"], template["metadata"]["labels"])


def test_stages_can_be_added_and_left_out(helm: Helm) -> None:
    values = minimal(stages={"tune": {"after": "finetune", "gpu": 2, "image": "train"}, "evaluate": {"enabled": False}})
    told = settings(helm.render(values))
    assert set(told) == {"download", "convert", "finetune", "tune"}
    assert told["tune"]["after"] == "finetune" and told["tune"]["after_job"].startswith("walk-finetune-")


def test_each_job_waits_for_the_job_before_it(helm4: Helm, case: dict[str, Any]) -> None:
    objects = helm4.render(case)
    jobs = {
        job["metadata"]["labels"]["groot-ray/stage"]: job["metadata"]["name"]
        for job in of_kind(objects, "Job")
        if "groot-ray/stage" in job["metadata"]["labels"]
    }
    for stage, told in settings(objects).items():
        assert told.get("after_job") == jobs.get(told.get("after")), stage
        job = next(job for job in of_kind(objects, "Job") if job["metadata"]["name"] == jobs[stage])
        assert f"--digest={told['digest']}" in job["spec"]["template"]["spec"]["containers"][0]["args"]


def test_roles_are_small(helm4: Helm, case: dict[str, Any]) -> None:
    objects = helm4.render(case)
    told = settings(objects)
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
            assert set(rule["resourceNames"]) == {t["cluster"] for t in told.values()} and rule["verbs"] == ["get"]
        if {"rayclusters"} & set(rule["resources"]) and rule["verbs"] != ["create"]:
            left = {name for t in told.values() for name in t["left"]}
            assert set(rule["resourceNames"]) == {f"{t['release']}-{stage}" for stage, t in told.items()} | left
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


def test_a_jobs_request_is_half_its_limit(helm4: Helm) -> None:
    for memory, half in (("160Mi", 80 * 2**20), ("0.25Gi", 2**27), ("200M", 10**8), ("1048576k", 2**19 * 1000)):
        for _, template in pod_templates(
            helm4.render(minimal(jobs={"memory": memory}, ray=EXTERNAL["cluster"]["ray"]))
        ):
            resources = template["spec"]["containers"][0]["resources"]
            assert resources["limits"]["memory"] == memory and int(resources["requests"]["memory"]) == half
            assert quantity(memory) == 2 * half


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
    told = settings(helm4.render(minimal(ray={"gpu": {"tmp_size": "3Gi"}})))["finetune"]["manifest"]["spec"]
    for group in (told["headGroupSpec"], *told["workerGroupSpecs"]):
        assert group["rayStartParams"]["object-spilling-directory"] == "/scratch"
        (container,) = group["template"]["spec"]["containers"]
        environment = {v["name"]: v.get("value") for v in container["env"]}
        assert environment["TMPDIR"] == environment["HOME"] == "/scratch"
        assert environment["RAY_TMPDIR"] == "/tmp", "the driver's log is read from /tmp/ray; sockets need short paths"
    volumes = {v["name"]: v for v in told["workerGroupSpecs"][0]["template"]["spec"]["volumes"]}
    assert volumes["tmp"]["emptyDir"] == {"sizeLimit": "3Gi"}


def test_jobs_have_a_priority_too(helm4: Helm) -> None:
    for job in of_kind(helm4.render(minimal(jobs={"priority_class": "batch"})), "Job"):
        assert job["spec"]["template"]["spec"]["priorityClassName"] == "batch"


WRONG_FOR_BOTH = [
    ({"stages": {"finetun": {"gpu": 8}}}, "cluster.stages.finetun is none of download, convert, finetune, evaluate"),
    ({"environment": {"variables": {"HTTPS_PROXY": "http://me:hunter2@proxy"}}}, "HTTPS_PROXY holds credentials"),
    (
        {"stages": {"convert": {"env": {"MIRROR": "https://me:hunter2@mirror/x"}}}},
        "convert.env.MIRROR holds credentials",
    ),
    ({"ray": {"head": {"ray_start_params": {"redis-password": "hunter2"}}}}, "redis-password looks like a secret"),
    ({"stages": {"a": {"after": "b"}, "b": {"after": "a"}}}, "a after b after a"),
    ({"stages": {"convert": {"after": "evaluate"}}}, "leads round in a circle"),
    ({"stages": {"tune": {"after": "tune"}}}, "tune after tune"),
    ({"stages": {"tune": {"after": "finetun"}}}, 'names "finetun", which is no stage'),
    ({"stages": {"convert": None}}, 'names "convert", which is no stage'),
    (
        {"stages": {n: {"enabled": False} for n in ("download", "convert", "finetune", "evaluate")}},
        "no stage that is enabled",
    ),
    ({"ray": {"gpu": {"labels": {"groot-ray/component": "evil"}}}}, 'has "groot-ray/component", which the chart sets'),
    ({"ray": {"cpu": {"labels": {"app.kubernetes.io/instance": "x"}}}}, "app.kubernetes.io/instance"),
    ({"ray": {"head": {"annotations": {"groot-ray/digest": "x"}}}}, "cluster.ray.head.annotations"),
    ({"ray": {"gpu": {"resources": {"memory": "1Gi"}}}}, "cluster.ray.gpu.resources.memory has an option of its own"),
    ({"monitoring": {"pod_monitor_labels": {"groot-ray/release": "x"}}}, "pod_monitor_labels"),
    ({"volumes": {"volumes": [{"name": "tmp", "emptyDir": {}}]}}, 'has a volume "tmp"'),
    ({"jobs": {"memory": "64Mi"}}, "cluster.jobs.memory is 64Mi, and a Job needs 80 MB"),
    ({"jobs": {"memory": "95.9Mi"}}, "give 96Mi or more"),
]


@pytest.mark.parametrize(("cluster", "said"), WRONG_FOR_BOTH)
def test_chart_and_document_refuse_the_same(helm: Helm, cluster: dict[str, Any], said: str) -> None:
    assert said in helm.refusal(minimal(**cluster))
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        build_document(minimal(**cluster))


def test_chart_and_document_take_the_same(helm4: Helm) -> None:
    stages = {
        "c": {"after": "b"},
        "b": {"after": "a"},
        "a": {"after": "evaluate"},
        "convert": {"after": None},
    }
    for cluster in ({"stages": stages}, {"jobs": {"memory": "96Mi"}}, {"ray": {"gpu": {"labels": {"groot/x": "y"}}}}):
        assert build_document(minimal(**cluster)) and helm4.render(minimal(**cluster))


def test_no_secret_is_written_down(helm4: Helm, case: dict[str, Any]) -> None:
    assert not of_kind(helm4.render(case), "Secret")
    for where, template in pod_templates(helm4.render(case)):
        for container in template["spec"]["containers"]:
            for variable in container["env"]:
                if re.search("TOKEN$|SECRET|PASSWORD", variable["name"]):
                    assert "value" not in variable and "secretKeyRef" in variable["valueFrom"], where


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("environment", "AWS_SECRET_ACCESS_KEY"),
        ("environment", "HF_TOKEN"),
        ("gpu", "WANDB_API_KEY"),
        ("stage", "DB_PASSWORD"),
    ],
)
def test_secrets_among_the_values_are_refused(helm: Helm, place: str, name: str) -> None:
    cluster = {
        "environment": {"environment": {"variables": {name: "hunter2"}}},
        "gpu": {"ray": {"gpu": {"env": {name: "hunter2"}}}},
        "stage": {"stages": {"convert": {"env": {name: "hunter2"}}}},
    }[place]
    said = helm.refusal(minimal(**cluster))
    assert name in said and "Secret" in said and "hunter2" not in said
    with pytest.raises(ConfigurationError, match=name):
        build_document(minimal(**cluster))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"experiment.storage.uri": "./outputs"}, "which pods would lose"),
        ({"experiment.storage.uri": "file:///data"}, "pods would lose"),
        ({"experiment.storage.endpoint": "http://user:pass@minio:9000"}, "holds credentials"),
        ({"experiment.source.uri": "./data"}, "which pods cannot see"),
        ({"experiment.embodiment": "robots/arm.yaml"}, "groot-ray experiment render"),
        ({"experiment.training": {"modality_config_path": "x.py"}}, "pods cannot see"),
        ({"experiment.training": {"num_workers": 0}}, "give 1 or more"),
        ({"cluster.ray": {"mode": "external"}}, "cluster.ray.address"),
        ({"cluster.ray": {"mode": "static"}}, "create secret generic"),
        ({"cluster.queue": "q", "cluster.ray": {"mode": "static", "token_secret": "t"}}, "Kueue"),
        ({"cluster.stages": {"tune": {"after": "finetun"}}}, "finetun"),
        ({"cluster.imag": {}}, "imag"),
        ({"cluster.ray": {"gpu": {"memroy": "1Gi"}}}, "memroy"),
        ({"experiment.trainig": {}}, "trainig"),
        ({"experiment.training": {"max_step": 3}}, "max_step"),
        ({"cluster.stages": {"A stage": {}}}, "A stage"),
        ({"cluster.ray": {"head": {"memory": "4 GB"}}}, "memory"),
    ],
)
def test_mistakes_are_told_with_their_key(helm: Helm, change: dict[str, Any], said: str) -> None:
    values = minimal()
    for dotted, value in change.items():
        put(values, dotted, value)
    assert said in helm.refusal(values)


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


def test_what_the_job_reads_is_the_document(helm: Helm) -> None:
    values = copy.deepcopy(FULL)
    values["experiment"]["training"] = {"learning_rate": 3e-5, "max_steps": 1000000, "num_workers": [1, 2]}
    document = json.loads(next(item["data"] for item in of_kind(helm.render(values), "ConfigMap"))["document.json"])
    assert build_document(document) == build_document(values)


def test_nothing_random(helm: Helm, case: dict[str, Any]) -> None:
    assert helm.render(case) == helm.render(case)
    for template in (CHART / "templates").rglob("*"):
        if template.is_file():
            text = re.sub(r"(?s)\{\{/\*.*?\*/\}\}", "", template.read_text())
            assert not re.search(r"\b(lookup|rand[A-Z]\w*|uuidv4|now|genCA|genSelfSignedCert|genPrivateKey)\b", text), (
                template
            )


def parent_of_it(folder: Path, more: str = "") -> Path:
    """A chart that has this one in it."""
    (folder / "charts").mkdir()
    (folder / "charts" / "groot-experiment").symlink_to(CHART)
    (folder / "Chart.yaml").write_text(f"apiVersion: v2\nname: parent\nversion: 0.1.0\n{more}")
    return folder


def test_as_a_subchart(helm: Helm, tmp_path: Path) -> None:
    objects = helm.render({"global": {"team": "robots"}, "groot-experiment": minimal()}, chart=parent_of_it(tmp_path))
    assert len(of_kind(objects, "Job")) == 4


def test_two_of_it_in_one_release(helm: Helm, tmp_path: Path) -> None:
    aliases = ["left_arm", "Right"]
    uses = "".join(f"  - {{name: groot-experiment, version: 0.1.0, alias: {alias}}}\n" for alias in aliases)
    objects = helm.render(dict.fromkeys(aliases, minimal()), chart=parent_of_it(tmp_path, f"dependencies:\n{uses}"))
    names = [(item["kind"], item["metadata"]["name"]) for item in objects]
    assert len(of_kind(objects, "Job")) == 8 and len(set(names)) == len(names)
    found = {item["metadata"]["labels"]["groot-ray/release"] for item in objects}
    assert found == {short_name(f"walk-{alias}") for alias in aliases}, "as `cluster status` looks for them"


def test_workload_identity_is_that_of_all_pods(helm4: Helm) -> None:
    objects = helm4.render(minimal(security={"service_account": "s3-reader"}))
    pods = dict(pod_templates(objects))
    assert {template["spec"]["serviceAccountName"] for template in pods.values()} == {"s3-reader"} and len(pods) > 8
    (binding,) = of_kind(objects, "RoleBinding")
    assert [subject["name"] for subject in binding["subjects"]] == ["s3-reader"]
    assert not of_kind(objects, "ServiceAccount"), "it exists"


@pytest.mark.parametrize("credentials", [[], ["storage"]], ids=["none", "a Secret"])
def test_where_no_secret_is_named_pods_reach_the_clouds_credentials(helm4: Helm, credentials: list[str]) -> None:
    found = policies(helm4.render(minimal(environment={"credentials": credentials})))
    for component in ("ray", "job"):
        for address in ("169.254.169.254/32", "169.254.170.23/32"):  # of nodes; of EKS Pod Identity
            assert open_ports(found[component], "egress", address) == (set() if credentials else {80})


def test_the_users_of_pods_can_be_the_clusters_choice(helm4: Helm) -> None:
    for where, template in pod_templates(helm4.render(minimal(security={"run_as_user": None, "run_as_group": None}))):
        told = template["spec"]["securityContext"]
        assert told["runAsNonRoot"] and not {"runAsUser", "runAsGroup", "fsGroup"} & set(told), where


@pytest.mark.parametrize(
    "place",
    [
        "cluster", "cluster.ray", "cluster.ray.gpu", "cluster.image", "cluster.security", "cluster.volumes", "cluster.jobs.retries",
        "cluster.security.network.enabled", "cluster.ray.mode", "cluster.ray.gpu.cpus", "cluster.ray.head.cache.size", "cluster.stages",
    ],
)  # fmt: skip
def test_null_takes_no_safeguard_away(helm: Helm, place: str) -> None:
    """Helm takes a key that is null out of the defaults."""
    last, values = place.split(".")[-1], minimal()
    put(values, place, None)
    said = helm.refusal(values)
    assert last in said and "nil pointer" not in said, said
    if place != "cluster":
        with pytest.raises(ConfigurationError, match=last):
            build_document(values)


@pytest.mark.parametrize(
    ("cluster", "key"),
    [
        ({"ray": {"gpu": {"tolerations": [{"operator": "exists"}]}}}, "operator"),
        ({"ray": {"gpu": {"tolerations": [{"keys": "spot"}]}}}, "keys"),
        ({"ray": {"cpu": {"labels": {"owner": "Jane Doe"}}}}, "owner"),
        ({"ray": {"cpu": {"labels": {"a b": "x"}}}}, "a b"),
        ({"ray": {"head": {"node_selector": {"zone": "b c"}}}}, "zone"),
        ({"jobs": {"node_selector": {"a b": "x"}}}, "a b"),
        ({"ray": {"gpu": {"affinity": {"nodeAffinty": {}}}}}, "nodeAffinty"),
        ({"image": {"data": "my image"}}, "data"),
        ({"stages": {"finetune": {"image": "my image"}}}, "image"),
    ],
)
def test_what_kubernetes_would_refuse_is_refused_before(helm: Helm, cluster: dict[str, Any], key: str) -> None:
    assert key in helm.refusal(minimal(**cluster))
    with pytest.raises(ConfigurationError, match=key):
        build_document(minimal(**cluster))


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


def test_pods_of_helm_test_go_where_jobs_go(helm4: Helm) -> None:
    (job, *_), (pod,) = (of_kind(helm4.render(FULL), kind) for kind in ("Job", "Pod"))
    for key in ("nodeSelector", "tolerations", "priorityClassName"):
        assert pod["spec"][key] == job["spec"]["template"]["spec"][key]


def test_the_time_to_drain_is_the_charts(helm4: Helm) -> None:
    variables = {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "9999"}
    for where, template in pod_templates(helm4.render(minimal(environment={"variables": variables}))):
        for container in template["spec"]["containers"]:
            times = [v["value"] for v in container["env"] if v["name"] in variables]
            assert times == (["75"] if container["name"].startswith("ray-") else ["9999"]), where


def test_jobs_know_what_the_release_may_have_left_running(helm4: Helm) -> None:
    told = settings(helm4.render(minimal(stages={"evaluate": {"enabled": False}})))
    assert {tuple(t["left"]) for t in told.values()} == {("walk-evaluate",)} and not told["convert"].get("former")
    assert settings(helm4.render(STATIC))["convert"]["former"] == ["walk-convert"]
    assert settings(helm4.render(EXTERNAL))["finetune"]["former"] == ["walk-finetune"]


def test_the_demo_fits_a_small_laptop(helm4: Helm) -> None:
    """2 cores and 8 GiB, with what Kubernetes (kind's pods, or minikube's with Calico) and the KubeRay operator ask for, and a margin."""
    objects = helm4.render([REPOSITORY / "k8s" / "demo.yaml"])
    minio = next(
        i for i in yaml.safe_load_all((REPOSITORY / "k8s" / "minio.yaml").read_text()) if i["kind"] == "Deployment"
    )
    others = [t for where, t in pod_templates(objects) if where.startswith("Job/")] + [minio["spec"]["template"]]
    for stage, told in settings(objects).items():
        cluster = told["manifest"]["spec"]
        pods = [cluster["headGroupSpec"]["template"], *others]
        for group in cluster["workerGroupSpecs"]:
            pods += [group["template"]] * group["maxReplicas"]
        asked = [c["resources"]["requests"] for pod in pods for c in pod["spec"]["containers"]]
        asked.append(cluster["autoscalerOptions"]["resources"]["requests"])
        cores, memory = (sum(quantity(request[kind]) for request in asked) for kind in ("cpu", "memory"))
        assert cores < 2 - 1.1 - 0.1 - 0.1, f"{stage} asks for {cores:.2f} cores"
        assert memory < (8 - 0.4 - 0.5 - 0.4) * 2**30, f"{stage} asks for {memory / 2**30:.2f} GiB"


@pytest.mark.parametrize("path", CLUSTERED, ids=lambda path: path.name)
def test_one_file_for_run_submit_and_helm(helm: Helm, path: Path, raycluster: jsonschema.Draft202012Validator) -> None:
    objects = helm.render([path])
    check_objects(objects, raycluster)
    data = next(item["data"] for item in of_kind(objects, "ConfigMap"))
    read = load_document(path)
    assert build_document(json.loads(data["document.json"])) == read, "the Jobs read what `groot-ray run` reads"
    assert read.cluster is not None and set(settings(objects)) == set(read.cluster.stages)


def test_there_is_an_example_for_kubernetes() -> None:
    assert [path.name for path in CLUSTERED] == ["aloha_kubernetes.yaml", "demo.yaml"]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.name)
def test_examples_of_one_machine_install_with_storage(
    helm4: Helm, path: Path, raycluster: jsonschema.Draft202012Validator
) -> None:
    """As they are, but for where data lies; one whose robot is a file goes through `groot-ray experiment render`, as the chart says."""
    words = ["--set", "experiment.storage.uri=s3://bucket/x", "--set", "experiment.source.uri=s3://bucket/recordings"]
    embodiment = yaml.safe_load(path.read_text())["experiment"]["embodiment"]
    if isinstance(embodiment, str) and "/" in embodiment:
        done = helm4.run("template", "walk", str(CHART), *words, values=[path])
        assert done.returncode != 0 and "groot-ray experiment render" in done.stderr
        values = json.dumps(rendered(path))
        done = helm4.run("template", "walk", str(CHART), *words, "-f", "-", stdin=values)
        assert done.returncode == 0, done.stderr
        objects = [item for item in yaml.load_all(done.stdout, yaml.CSafeLoader) if item]
        data = next(item["data"] for item in of_kind(objects, "ConfigMap"))
        inlined = build_document(json.loads(data["document.json"])).experiment
        assert load_embodiment(inlined.embodiment, inlined.embodiment_tag) == load_embodiment(
            load_document(path).experiment.embodiment, inlined.embodiment_tag
        )
    else:
        objects = helm4.render([path], "walk", "robots", *words)
    check_objects(objects, raycluster)
