"""Other parts of a release: its Jobs, volumes, users, network and monitoring."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from groot_ray.experiment.cluster.kubernetes import (
    Labels,
    NodeLabels,
    ObjectName,
    Quantity,
    Toleration,
    Volume,
    quantity,
)
from groot_ray.experiment.schema import PlainMapping, Strict
from groot_ray.field_types import BILLION

Port = Annotated[int, Field(ge=1, le=65535)]
SMALLEST_JOB = "96Mi"  # a waiting Job uses 55 MB, a starting one 80 MB


class JobOptions(Strict):
    """The Jobs that start the stages and follow them."""

    retries: int = Field(
        10,
        ge=0,
        le=1_000_000,
        description="pods of a Job after temporary failures (exit codes 1, 69, 75, 137); other failures are never "
        "retried",
    )
    ttl: int | None = Field(
        86400, ge=0, le=BILLION, description="seconds after which a finished Job is removed; null: never"
    )
    keep: bool = Field(
        False,
        description="for GitOps tools: finished Jobs are never removed, since such a tool would create them again, "
        "and have no owner, since Argo CD does not prune objects that have one",
    )
    memory: Quantity = Field(
        "160Mi", description=f"memory limit of a Job's pod, {SMALLEST_JOB} or more; half of it is requested"
    )
    cpu: Quantity = Field("20m", description="CPU request of a Job's pod")
    poll: int = Field(5, ge=1, le=3600, description="seconds between two requests to storage or Ray")
    node_selector: NodeLabels = Field({}, description="labels that a node must have for the Jobs")
    tolerations: list[Toleration] = Field([], description="taints that the Jobs tolerate")
    priority_class: ObjectName | None = Field(None, description="PriorityClass of the Jobs' pods")

    @field_validator("memory")
    @classmethod
    def _enough_memory(cls, value: str) -> str:
        if quantity(value) < quantity(SMALLEST_JOB):
            raise ValueError(f"cluster.jobs.memory is {value}, and a Job needs 80 MB; give {SMALLEST_JOB} or more")
        return value


class NetworkOptions(Strict):
    """The NetworkPolicies that close the release."""

    enabled: bool = Field(True, description="create the NetworkPolicies")
    allow_from: list[PlainMapping] = Field([], description="peers that may reach Ray's dashboard and job port (8265)")
    metrics_from: list[PlainMapping] = Field(
        [],
        description="peers that may reach Ray's metrics (8080); without any, and with monitoring.pod_monitor, "
        "the pods of any namespace with the label app.kubernetes.io/name: prometheus",
    )
    dns_peers: list[PlainMapping] = Field([], description="peers of port 53 (the cluster's DNS); any by default")
    storage_ports: list[Port] = Field(
        [443], description="TCP ports of object storage and hub; those of the endpoints in this file are added"
    )
    storage_peers: list[PlainMapping] = Field([], description="peers of those ports; any by default")
    api_ports: list[Port] = Field(
        [443, 6443, 8443],
        description="TCP ports of the API server (6443 kind, 8443 minikube), for the Jobs and the autoscaler",
    )
    api_peers: list[PlainMapping] = Field([], description="where the API server is (ipBlock); anywhere by default")
    egress: list[PlainMapping] = Field([], description="more egress rules, as in a NetworkPolicy")


class SecurityOptions(Strict):
    """Users, service accounts and the network."""

    run_as_user: int | None = Field(
        1000, ge=1, le=2**31 - 1, description="user of all containers; null where the cluster assigns one (OpenShift)"
    )
    run_as_group: int | None = Field(
        1000,
        ge=1,
        le=2**31 - 1,
        description="group of all containers, and of volumes; null where the cluster assigns one",
    )
    service_account: ObjectName | None = Field(
        None,
        description="existing service account for all pods (workload identity for storage); the Jobs' Role is bound "
        "to it",
    )
    network: NetworkOptions = Field(default_factory=NetworkOptions)


class MonitoringOptions(Strict):
    """Metrics and a dashboard."""

    pod_monitor: bool = Field(False, description="create a PodMonitor (Prometheus operator) for Ray's metrics")
    pod_monitor_labels: Labels = Field({}, description="labels by which Prometheus selects the PodMonitor")
    dashboard: bool = Field(False, description="create a ConfigMap with a Grafana dashboard")
    dashboard_labels: Labels = Field(
        {"grafana_dashboard": "1"}, description="labels by which Grafana's sidecar selects it"
    )


class VolumeOptions(Strict):
    """Volumes that all Ray pods get besides their cache."""

    volumes: list[Volume] = Field([], description="volumes as in a pod")
    mounts: list[PlainMapping] = Field([], description="volumeMounts as in a container")
