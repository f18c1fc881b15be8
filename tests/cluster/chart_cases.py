"""Values with which the chart is rendered in its tests."""

from __future__ import annotations

from typing import Any

from rendering import REPOSITORY, minimal

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
    stages={"finetune": {"gpu": 2, "deadline": 3600, "retries": 3, "env": {"NO": "yes: no"}}},
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
NASTY = "quote ' and \" colon: newline\n  - {brace} #hash %d {{ .Values }} ümläut 日本 \\ \t$(HOME) `x` !!python/object"
