"""Images, and size and placement of Ray's pods."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from groot_ray.experiment.cluster.environment import Environment, RayStartParameters
from groot_ray.experiment.cluster.kubernetes import (
    Affinity,
    Annotations,
    ImageName,
    Labels,
    NodeLabels,
    ObjectName,
    Quantity,
    ResourceName,
    Toleration,
)
from groot_ray.experiment.schema import PlainMapping, Strict


class ImageOptions(Strict):
    """The two images of a release and how they are pulled."""

    data: ImageName = Field(
        "localhost/groot-ray:0.1.0-data", description="image without torch: download, conversion, the Jobs themselves"
    )
    train: ImageName = Field(
        "localhost/groot-ray:0.1.0-train", description="image with torch: finetuning and evaluation"
    )
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field("IfNotPresent", description="when nodes pull")
    pull_secrets: list[ObjectName] = Field([], description="Secrets with registry credentials")


class CacheOptions(Strict):
    """Scratch space of a Ray pod: copies of datasets, models and checkpoints, temporary files, spilled objects."""

    size: Quantity = Field("20Gi", description="upper limit; a pod that uses more is evicted")
    storage_class: ObjectName | None = Field(
        None,
        description="storage class of a generic ephemeral volume (such as local NVMe); the node's own disk by default",
    )


class PodOptions(Strict):
    """Size and placement of one kind of Ray pod."""

    image: ImageName | None = Field(
        None, description="data, train or a full image reference; the stage's image by default"
    )
    cpus: int = Field(2, ge=1, le=10_000, description="CPUs that Ray schedules by, and the CPU request")
    cpu_request: Quantity | None = Field(None, description="CPU request where it should differ from cpus")
    memory: Quantity = Field("4Gi", description="memory request and limit")
    gpus: int = Field(0, ge=0, le=1000, description="GPUs of a pod")
    gpu_resource: str = Field("nvidia.com/gpu", description="name of the GPU resource")
    object_store_memory: int | None = Field(
        None, ge=80 * 2**20, le=2**50, description="bytes of Ray's object store; 30 % of the memory by default"
    )
    shared_memory: Quantity | None = Field(
        None, description="size of /dev/shm (object store, NCCL); up to the pod's memory by default"
    )
    cache: CacheOptions = Field(default_factory=CacheOptions)
    tmp_size: Quantity = Field(
        "10Gi", description="limit of /tmp, where Ray keeps its session (sockets, logs, packages of jobs)"
    )
    node_selector: NodeLabels = Field({}, description="labels that a node must have")
    tolerations: list[Toleration] = Field([], description="taints that are tolerated (GPU nodes, spot nodes)")
    affinity: Affinity = Field(Affinity(), description="affinity as in a pod")
    topology_spread: list[PlainMapping] = Field(
        [], description="topologySpreadConstraints; a missing labelSelector selects the group's own pods"
    )
    priority_class: ObjectName | None = Field(None, description="PriorityClass of the pods")
    runtime_class: ObjectName | None = Field(
        None, description="RuntimeClass of the pods (nvidia where it is not the default)"
    )
    annotations: Annotations = Field({}, description="more annotations of the pods")
    labels: Labels = Field({}, description="more labels of the pods")
    env: Environment = Field({}, description="more environment variables of these pods")
    resources: dict[ResourceName, Quantity] = Field({}, description='more resources, such as rdma/hca: "1"')
    ray_start_params: RayStartParameters = Field(
        {}, description="more parameters of ray start, passed on unchanged: resources: '{\"robot\": 1}'"
    )


def head_pod() -> PodOptions:
    """Defaults of the head pod, which schedules and runs drivers."""
    return PodOptions(cpus=2, memory="4Gi", cache=CacheOptions(size="10Gi"))


def cpu_pod() -> PodOptions:
    """Defaults of a pod of the CPU group."""
    return PodOptions(cpus=4, memory="8Gi")


def gpu_pod() -> PodOptions:
    """Defaults of a pod of the GPU group."""
    return PodOptions(
        cpus=8,
        memory="64Gi",
        gpus=1,
        cache=CacheOptions(size="200Gi"),
        tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    )


GROUPS = {"head": head_pod, "cpu": cpu_pod, "gpu": gpu_pod}
