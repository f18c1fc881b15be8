"""The document as values of the chart: stricter than for a single machine, because pods cannot see its folders and
files.

``charts/generate.py`` generates ``values.schema.json`` from these classes. Rules that compare options are in
``templates/_checks.tpl`` of the chart.
"""

from __future__ import annotations

from typing import Annotated, Any, Union

from pydantic import BaseModel, Field

from groot_ray.experiment.cluster import ClusterOptions
from groot_ray.experiment.cluster.environment import NO_CREDENTIALS, Environment, EnvironmentOptions
from groot_ray.experiment.document import Document
from groot_ray.experiment.rules import Never, Only, Under
from groot_ray.experiment.schema import Experiment, SourceOptions, StorageOptions, TrainingOptions, Workers

S3_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")  # win over storage.endpoint
ENDPOINTS = (*S3_ENDPOINTS, "HF_ENDPOINT", "WANDB_BASE_URL")
OWN_HOST = r"^https?://(localhost|127\.[0-9.]+|\[::1\])(:|/|$)"  # means each pod itself

IN_STORAGE = Only("^s3://", "s3://bucket/prefix: pods would lose a folder")
POD_ADDRESS = Never(OWN_HOST, "an address that pods reach: this one is each pod itself")
NO_FILE = "pods cannot see a file of this machine"
INLINE = Never(
    r"/|\.ya?ml$",
    f"a preset or the description itself: {NO_FILE}; "
    "inline it: groot-ray experiment render EXPERIMENT.yaml > rendered.yaml",
)
NO_MODALITY_CONFIG = Never(".", f"left out: {NO_FILE}; describe the embodiment in the document instead")

Address = Annotated[str, NO_CREDENTIALS]
StorageUri = Annotated[str, IN_STORAGE, NO_CREDENTIALS]
PodWorkers = Union[Workers, tuple[Workers, Workers]]


def described(options: type[BaseModel], name: str, default: Any = ...) -> Any:
    """A field with the description that it has in `options`."""
    return Field(default, description=options.model_fields[name].description)


class ReleaseStorage(StorageOptions):
    """Where everything that the release makes is kept."""

    uri: StorageUri = described(StorageOptions, "uri")
    endpoint: Address | None = described(StorageOptions, "endpoint", None)


class ReleaseSource(SourceOptions):
    """The robot's recorded demonstrations (LeRobot v2.0 or v2.1)."""

    uri: Address = described(SourceOptions, "uri")


class ReleaseTraining(TrainingOptions):
    """Finetuning in pods, under the names and defaults of NVIDIA's launcher where it has the option."""

    modality_config_path: Annotated[str, NO_MODALITY_CONFIG] | None = described(
        TrainingOptions, "modality_config_path", None
    )
    num_workers: PodWorkers = described(TrainingOptions, "num_workers", 1)


class ReleaseExperiment(Experiment):
    """What is computed: from a robot's recordings to an evaluated checkpoint."""

    storage: ReleaseStorage
    source: ReleaseSource
    embodiment: Annotated[str, INLINE] | dict[str, Any] = described(Experiment, "embodiment")
    training: ReleaseTraining = Field(default_factory=ReleaseTraining)


class ReleaseEnvironment(EnvironmentOptions):
    """Environment of all pods. Secrets are only named, never written down."""

    variables: Annotated[Environment, Under(ENDPOINTS, POD_ADDRESS)] = described(EnvironmentOptions, "variables", {})


class ReleaseCluster(ClusterOptions):
    """Images, Ray, stages, queue and security of a release."""

    environment: ReleaseEnvironment = Field(default_factory=ReleaseEnvironment)


class Values(Document):
    """Values of the chart groot-experiment."""

    experiment: ReleaseExperiment
    cluster: ReleaseCluster = described(Document, "cluster")
