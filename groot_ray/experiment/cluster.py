"""The `cluster:` part of a document: where and how the stages run on Kubernetes.

The same keys are the values of the chart ``charts/groot-experiment``, whose ``values.yaml`` and ``values.schema.json`` are generated
from these classes. None of them can change a result, so none enters a stage key.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Union

from pydantic import ConfigDict, Field, field_validator, model_validator
from typing_extensions import TypedDict

from groot_ray.errors import did_you_mean
from groot_ray.experiment.schema import Strict

Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$")]
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
StageName = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,12}[a-z0-9])?$")]
EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Environment = dict[EnvironmentName, str]
ImageName = Annotated[str, Field(pattern=r"^[^\s@:/][^\s]*$")]
LABEL = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)"
LabelName = Annotated[str, Field(pattern=rf"^([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{LABEL}$")]
Labels = dict[LabelName, Annotated[str, Field(pattern=rf"^{LABEL}?$")]]
Annotations = dict[LabelName, str]

RESERVED_NAME = re.compile(r"^(groot-ray|app\.kubernetes\.io|ray\.io)/")
CHARTS_VOLUMES = ("scratch", "tmp", "shared-memory", "ca-bundle")
FACTORS = {
    **{"": 1, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18},
    **{"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60},
}
SMALLEST_JOB = "96Mi"  # a waiting Job has 55 MB, one that starts 80 MB
CREDENTIALS = re.compile(r"://[^/\s]*@")  # within an address
SECRET_NAME = re.compile(r"SECRET|PASSWORD|PASSWD|CREDENTIAL|PRIVATE_KEY|API_KEY|ACCESS_KEY|(^|_)TOKEN$", re.IGNORECASE)


class Toleration(TypedDict, total=False):
    """A taint that pods tolerate, as in a pod."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    key: str
    operator: Literal["Exists", "Equal"]
    value: str
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]
    tolerationSeconds: int


class Affinity(TypedDict, total=False):
    """Rules for nodes and neighbors, as in a pod."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    nodeAffinity: dict[str, Any]
    podAffinity: dict[str, Any]
    podAntiAffinity: dict[str, Any]


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
    """Scratch space of a Ray pod: local copies of datasets, models and checkpoints, temporary files, what Ray spills."""

    size: Quantity = Field("20Gi", description="upper limit; a pod that needs more is evicted")
    storage_class: ObjectName | None = Field(
        None,
        description="storage class of a generic ephemeral volume (a local NVMe provisioner); the node's own disk when not given",
    )


class PodOptions(Strict):
    """Size and placement of one kind of Ray pod."""

    image: ImageName | None = Field(
        None, description="data, train or a full reference; the stage's image when not given"
    )
    cpus: int = Field(2, ge=1, description="CPUs that Ray schedules by, and the CPU request")
    cpu_request: Quantity | None = Field(None, description="CPU request when it should differ from cpus")
    memory: Quantity = Field("4Gi", description="memory request and limit")
    gpus: int = Field(0, ge=0, description="GPUs of a pod")
    gpu_resource: str = Field("nvidia.com/gpu", description="name of the GPU resource")
    object_store_memory: int | None = Field(
        None, ge=80 * 2**20, description="bytes of Ray's object store; 30 % of the memory when not given"
    )
    shared_memory: Quantity | None = Field(
        None, description="size of /dev/shm (object store, NCCL); up to the pod's memory when not given"
    )
    cache: CacheOptions = Field(default_factory=CacheOptions)
    tmp_size: Quantity = Field(
        "10Gi", description="limit of /tmp, where Ray keeps its session (sockets, logs, packages of jobs)"
    )
    node_selector: Labels = Field({}, description="labels of the nodes")
    tolerations: list[Toleration] = Field([], description="taints that are tolerated (GPU nodes, spot nodes)")
    affinity: Affinity = Field(Affinity(), description="affinity as in a pod")
    topology_spread: list[dict[str, Any]] = Field(
        [], description="topologySpreadConstraints; the selector is filled in where it is missing"
    )
    priority_class: ObjectName | None = Field(None, description="PriorityClass of the pods")
    runtime_class: ObjectName | None = Field(
        None, description="RuntimeClass of the pods (nvidia where it is not the default)"
    )
    annotations: Annotations = Field({}, description="annotations of the pods")
    labels: Labels = Field({}, description="more labels of the pods")
    env: Environment = Field({}, description="more environment of these pods")
    resources: dict[str, Quantity] = Field({}, description='more resources, such as rdma/hca: "1"')
    ray_start_params: dict[Annotated[str, Field(pattern=r"^[a-z][-a-z0-9]*$")], str] = Field(
        {}, description="more parameters of ray start, as they are: resources: '{\"robot\": 1}'"
    )


def _head() -> PodOptions:
    return PodOptions(cpus=2, memory="4Gi", cache=CacheOptions(size="10Gi"))


def _cpu_group() -> PodOptions:
    return PodOptions(cpus=4, memory="8Gi")


def _gpu_group() -> PodOptions:
    return PodOptions(
        cpus=8,
        memory="64Gi",
        gpus=1,
        cache=CacheOptions(size="200Gi"),
        tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    )


class RayOptions(Strict):
    """The Ray cluster of each stage."""

    mode: Literal["kuberay", "static", "external"] = Field(
        "kuberay",
        description="kuberay: the stage's Job creates a RayCluster that scales from 0; static: StatefulSets that the Job scales, where "
        "there is no operator; external: a Ray cluster that exists",
    )
    version: str = Field("2.60.0", pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$", description="Ray version of the images")
    address: str | None = Field(
        None, pattern=r"^https?://[^\s@]+$", description="external: http address of the Ray dashboard (port 8265)"
    )
    token_secret: ObjectName | None = Field(
        None,
        description="Secret with Ray's token under the key auth_token (static, external); with kuberay the operator makes one",
    )
    idle_timeout: int = Field(30, ge=1, description="seconds after which the autoscaler gives an idle pod back")
    start_timeout: int = Field(
        1800,
        ge=10,
        description="seconds that a Ray head may take to answer once its pod has a node (images that must be pulled)",
    )
    save_seconds: int = Field(
        60, ge=1, description="measured time to save a checkpoint; grace periods of pods are derived from it"
    )
    head: PodOptions = Field(default_factory=_head, description="the head")
    cpu: PodOptions = Field(default_factory=_cpu_group, description="pods of the CPU group")
    gpu: PodOptions = Field(default_factory=_gpu_group, description="pods of the GPU group")
    autoscaler_memory: Quantity = Field("512Mi", description="memory of the autoscaler beside the head")
    autoscaler_cpu: Quantity = Field("100m", description="CPU request of the autoscaler")

    @model_validator(mode="before")
    @classmethod
    def _groups_keep_their_defaults(cls, data: Any) -> Any:
        """A group that is given in part keeps the rest of its own defaults, as values merge in Helm."""
        if isinstance(data, dict):
            data = dict(data)
            for name, default in (("head", _head), ("cpu", _cpu_group), ("gpu", _gpu_group)):
                if isinstance(data.get(name), dict):
                    data[name] = merged(default().model_dump(), data[name])
        return data

    @model_validator(mode="after")
    def _mode_has_what_it_needs(self) -> RayOptions:
        if self.mode == "external" and not self.address:
            raise ValueError("mode external needs cluster.ray.address, the http address of the Ray dashboard")
        if self.mode == "static" and not self.token_secret:
            raise ValueError(
                "mode static needs cluster.ray.token_secret, a Secret with a random text under the key auth_token"
            )
        return self


class StageOptions(Strict):
    """One stage of a release: its Job and its Ray cluster."""

    enabled: bool = Field(True, description="false leaves the Job out")
    after: StageName | None = Field(None, description="the stage whose manifest must be there first")
    image: ImageName = Field("data", description="data, train or a full reference")
    cpu: Union[Annotated[int, Field(ge=0)], Literal["training"]] = Field(
        0, description="most pods of the CPU group; training: as many as training.num_workers needs"
    )
    gpu: Union[Annotated[int, Field(ge=0)], Literal["training"]] = Field(
        0, description="most pods of the GPU group; with training.use_gpu: false they are taken from the CPU group"
    )
    deadline: int | None = Field(
        None,
        ge=1,
        description="seconds of work after which the stage is stopped, waiting for nodes or a queue not counted; none when not given",
    )
    retries: int | None = Field(
        None, ge=0, description="attempts after failures that may pass; jobs.retries when not given"
    )
    env: Environment = Field({}, description="more environment of the stage's driver and workers")


def default_stages() -> dict[str, dict[str, Any]]:
    """What each stage of the pipeline runs on when nothing is given."""
    return {
        "download": {"image": "data"},
        "convert": {"after": "download", "image": "data", "cpu": 4},
        "finetune": {"after": "convert", "image": "train", "gpu": "training"},
        "evaluate": {"after": "finetune", "image": "train", "gpu": 1},
    }


class JobOptions(Strict):
    """The Jobs that wait for, start and follow the stages."""

    retries: int = Field(
        10,
        ge=0,
        description="pods of a Job after failures that may pass (exit codes 1, 69, 75, 137); mistakes are never retried",
    )
    ttl: int | None = Field(86400, ge=0, description="seconds after which a finished Job is removed")
    keep: bool = Field(
        False,
        description="for GitOps tools: finished Jobs are never removed, since they would be made again, and have no owner, since Argo CD "
        "prunes nothing that has one",
    )
    memory: Quantity = Field(
        "160Mi", description=f"memory limit of a Job's pod, {SMALLEST_JOB} or more; half of it is requested"
    )
    cpu: Quantity = Field("20m", description="CPU request of a Job's pod")
    poll: int = Field(5, ge=1, description="seconds between two looks at storage or Ray")
    node_selector: Labels = Field({}, description="labels of the nodes for the Jobs")
    tolerations: list[Toleration] = Field([], description="taints that the Jobs tolerate")
    priority_class: ObjectName | None = Field(None, description="PriorityClass of the Jobs' pods")

    @field_validator("memory")
    @classmethod
    def _enough_memory(cls, value: str) -> str:
        if quantity(value) < quantity(SMALLEST_JOB):
            raise ValueError(f"cluster.jobs.memory is {value}, and a Job needs 80 MB; give {SMALLEST_JOB} or more")
        return value


class NetworkOptions(Strict):
    """The NetworkPolicy that closes the release."""

    enabled: bool = Field(True, description="make the NetworkPolicies")
    allow_from: list[dict[str, Any]] = Field([], description="peers that may reach Ray's dashboard and job port (8265)")
    metrics_from: list[dict[str, Any]] = Field(
        [],
        description="peers that may reach Ray's metrics (8080); when none is given and monitoring.pod_monitor is on, "
        "the pods of any namespace with the label app.kubernetes.io/name: prometheus",
    )
    dns_peers: list[dict[str, Any]] = Field([], description="peers of port 53 (the cluster's DNS); any when not given")
    storage_ports: list[int] = Field(
        [443], description="TCP ports of object storage and hub; those of the endpoints in this file are added"
    )
    storage_peers: list[dict[str, Any]] = Field([], description="peers of those ports; any when not given")
    api_ports: list[int] = Field(
        [443, 6443, 8443],
        description="TCP ports of the API server (6443 kind, 8443 minikube), for the Jobs and the autoscaler",
    )
    api_peers: list[dict[str, Any]] = Field([], description="where the API server is (ipBlock); any when not given")
    egress: list[dict[str, Any]] = Field([], description="more egress rules, as in a NetworkPolicy")


class SecurityOptions(Strict):
    """Users, service accounts and the network."""

    run_as_user: int | None = Field(
        1000, ge=1, description="user of all containers; null where the cluster chooses one (OpenShift)"
    )
    run_as_group: int | None = Field(
        1000, ge=1, description="group of all containers, and of volumes; null where the cluster chooses one"
    )
    service_account: ObjectName | None = Field(
        None,
        description="service account that exists, for all pods (workload identity for storage); the Jobs' Role is bound to it",
    )
    network: NetworkOptions = Field(default_factory=NetworkOptions)


class EnvironmentOptions(Strict):
    """Environment of all pods. Secrets are only named, never written down."""

    credentials: list[ObjectName] = Field(
        [],
        description="Secrets whose keys become environment variables (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, HF_TOKEN, WANDB_API_KEY)",
    )
    config_maps: list[ObjectName] = Field([], description="ConfigMaps whose keys become environment variables")
    variables: Environment = Field({}, description="plain variables such as AWS_REGION or AWS_ENDPOINT_URL_S3")
    proxy: str | None = Field(None, pattern=r"^https?://[^\s@]+$", description="HTTP(S) proxy for storage and hub")
    no_proxy: list[str] = Field([], description="hosts that are reached without the proxy; the cluster's own are added")
    ca_bundle: ObjectName | None = Field(
        None, description="ConfigMap with a CA bundle in PEM form under the key ca.crt"
    )

    @field_validator("variables")
    @classmethod
    def _no_secrets(cls, value: dict[str, str]) -> dict[str, str]:
        return refuse_secrets(value, "cluster.environment.variables")


class MonitoringOptions(Strict):
    """What others may scrape and show."""

    pod_monitor: bool = Field(False, description="make a PodMonitor (Prometheus operator) for Ray's metrics")
    pod_monitor_labels: Labels = Field({}, description="labels by which Prometheus chooses the PodMonitor")
    dashboard: bool = Field(False, description="make a ConfigMap with a Grafana dashboard")
    dashboard_labels: Labels = Field(
        {"grafana_dashboard": "1"}, description="labels by which Grafana's sidecar chooses it"
    )


class VolumeOptions(Strict):
    """Volumes that all Ray pods get besides their cache."""

    volumes: list[dict[str, Any]] = Field([], description="volumes as in a pod")
    mounts: list[dict[str, Any]] = Field([], description="volumeMounts as in a container")

    @field_validator("volumes")
    @classmethod
    def _names_of_their_own(cls, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for volume in value:
            if volume.get("name") in CHARTS_VOLUMES:
                raise ValueError(
                    f'cluster.volumes.volumes has a volume "{volume["name"]}", a name that the chart\'s own volume has; give it another'
                )
        return value


class ClusterOptions(Strict):
    """Images, Ray, stages, queue and security of a release."""

    image: ImageOptions = Field(default_factory=ImageOptions)
    ray: RayOptions = Field(default_factory=RayOptions)
    stages: dict[StageName, StageOptions] = Field(
        default_factory=lambda: {name: StageOptions(**options) for name, options in default_stages().items()},
        description="the stages by name; each becomes a Job. What is given here is merged into the four stages of the pipeline",
    )
    rerun: str | int | None = Field(
        None,
        description="any text: another one makes all Jobs anew, also failed ones, after a mistake was mended outside these values",
    )
    queue: ObjectName | None = Field(
        None,
        description="LocalQueue of Kueue: fixed replicas instead of an autoscaler, so that a stage waits for quota and starts as a gang",
    )
    jobs: JobOptions = Field(default_factory=JobOptions)
    environment: EnvironmentOptions = Field(default_factory=EnvironmentOptions)
    volumes: VolumeOptions = Field(default_factory=VolumeOptions)
    security: SecurityOptions = Field(default_factory=SecurityOptions)
    monitoring: MonitoringOptions = Field(default_factory=MonitoringOptions)

    @field_validator("stages", mode="before")
    @classmethod
    def _merge_stages(cls, value: Any) -> Any:
        if not isinstance(value, dict) or any(isinstance(stage, StageOptions) for stage in value.values()):
            return value
        given = {name: options for name, options in value.items() if isinstance(options, dict)}
        odd = {
            name: options for name, options in value.items() if not isinstance(options, dict) and options is not None
        }
        dropped = [name for name, options in value.items() if options is None]
        stages = {name: options for name, options in merged(default_stages(), given).items() if name not in dropped}
        return {**stages, **odd}

    @model_validator(mode="after")
    def _stages_follow_stages(self) -> ClusterOptions:
        for name, stage in self.stages.items():
            refuse_secrets(stage.env, f"cluster.stages.{name}.env")
        check_order(self.stages)
        for name, pod in (("head", self.ray.head), ("cpu", self.ray.cpu), ("gpu", self.ray.gpu)):
            refuse_secrets(pod.env, f"cluster.ray.{name}.env")
            refuse_secrets(pod.ray_start_params, f"cluster.ray.{name}.ray_start_params")
            refuse_reserved(pod.labels, f"cluster.ray.{name}.labels")
            refuse_reserved(pod.annotations, f"cluster.ray.{name}.annotations")
            for resource in sorted({"cpu", "memory", pod.gpu_resource} & set(pod.resources)):
                raise ValueError(
                    f"cluster.ray.{name}.resources.{resource} has an option of its own: cpu_request, memory or gpus"
                )
        refuse_reserved(self.monitoring.pod_monitor_labels, "cluster.monitoring.pod_monitor_labels")
        refuse_reserved(self.monitoring.dashboard_labels, "cluster.monitoring.dashboard_labels")
        if self.queue and self.ray.mode != "kuberay":
            raise ValueError("cluster.queue needs cluster.ray.mode: kuberay, because Kueue admits RayClusters")
        return self


def check_order(stages: dict[str, StageOptions]) -> None:
    """Raise ValueError unless each stage follows one that exists, none follows itself, and one is enabled; the chart checks the same."""
    for name, stage in stages.items():
        if name not in default_stages() and not stage.after:
            raise ValueError(
                f"cluster.stages.{name} is none of {', '.join(default_stages())}{did_you_mean(name, default_stages())}; "
                f"a stage that is added needs cluster.stages.{name}.after, the stage that it follows"
            )
        if stage.after and stage.after not in stages:
            raise ValueError(
                f'cluster.stages.{name}.after names "{stage.after}", which is no stage; there are {", ".join(sorted(stages))}'
            )
    for name in sorted(stages):
        way = [name]
        while (before := stages[way[-1]].after) and before not in way:
            way.append(before)
        if before:
            raise ValueError(f"cluster.stages.{name}.after leads round in a circle: {' after '.join([*way, before])}")
    if not any(stage.enabled for stage in stages.values()):
        raise ValueError("cluster.stages has no stage that is enabled")


def quantity(text: str) -> float:
    """The number (cores, bytes, pieces) that a quantity of Kubernetes stands for: 160Mi are 167,772,160; 0 for what is none."""
    match = re.fullmatch(r"((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)([a-zA-Z]*)", str(text))
    return float(match[1]) * FACTORS[match[2]] if match is not None and match[2] in FACTORS else 0.0


def refuse_reserved(names: dict[str, str], place: str) -> None:
    """Raise ValueError where a label or annotation is one by which the chart, its NetworkPolicies and KubeRay find their pods."""
    for name in sorted(names):
        if RESERVED_NAME.search(name):
            raise ValueError(f'{place} has "{name}", which the chart sets itself; take a name of your own')


def refuse_secrets(variables: dict[str, str], place: str) -> dict[str, str]:
    """Return `variables` unless one has the name of a secret, or an address with credentials: those are never written into values."""
    for name, value in variables.items():
        if SECRET_NAME.search(name):
            raise ValueError(
                f"{place}.{name} looks like a secret; put it into a Secret and name that in cluster.environment.credentials"
            )
        if CREDENTIALS.search(value):
            raise ValueError(
                f"{place}.{name} holds credentials; put them into a Secret and name it in cluster.environment.credentials"
            )
    return variables


def merged(defaults: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Merge mappings as Helm merges values: keys of `given` win, mappings are merged, lists are replaced."""
    result = dict(defaults)
    for key, value in given.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result
