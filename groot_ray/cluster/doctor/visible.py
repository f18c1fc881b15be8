"""What a document names that pods cannot see: folders and files of this machine, and addresses that mean each pod itself.

The chart refuses the same in the same words (charts/groot-experiment/templates/_checks.tpl); only the doctor knows which paths exist here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from groot_ray.embodiment.load import preset_names
from groot_ray.experiment.cluster import ClusterOptions
from groot_ray.experiment.document import Document
from groot_ray.experiment.schema import ModelOptions, StorageOptions
from groot_ray.model.shared.tokenizer import TINY
from groot_ray.stages.hub import hub_name

S3_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")  # win over storage.endpoint
ENDPOINTS = (*S3_ENDPOINTS, "HF_ENDPOINT", "WANDB_BASE_URL")
OWN_HOST = re.compile(r"(.+\.)?localhost|127(\.[0-9]+){1,3}|::1")


def hidden_from_pods(document: Document) -> Iterator[str]:
    """Sentences about what a document names and pods cannot see; none where they see all of it."""
    experiment, options = document.experiment, document.cluster or ClusterOptions()
    yield from hidden_storage(experiment.storage, options)
    if is_hidden(experiment.source.uri, options):
        yield _folder("source.uri", experiment.source.uri, "dataset")
    yield from hidden_model(experiment.model, options)
    if isinstance(experiment.embodiment, str) and is_file(experiment.embodiment):
        yield (
            f'experiment.embodiment is the file "{experiment.embodiment}", which pods cannot see; '
            "inline it: groot-ray experiment render EXPERIMENT.yaml > rendered.yaml"
        )
    if experiment.training.modality_config_path:
        yield (
            "experiment.training.modality_config_path is a file, which pods cannot see; "
            "describe the embodiment in the document instead"
        )


def hidden_storage(storage: StorageOptions, options: ClusterOptions) -> Iterator[str]:
    """Storage in a folder, and addresses of storage and hub that mean each pod itself."""
    if "://" not in storage.uri or storage.uri.startswith("file://"):
        yield f'experiment.storage.uri is the folder "{storage.uri}", which pods would lose; give an s3://bucket/prefix'
    variables = options.environment.variables
    addresses = {f"cluster.environment.variables.{name}": variables.get(name) for name in ENDPOINTS}
    if not any(name in variables for name in S3_ENDPOINTS):
        addresses["experiment.storage.endpoint"] = storage.endpoint
    for place, address in addresses.items():
        if address and OWN_HOST.fullmatch(host_of(address)):
            yield f'{place} is "{address}", which is each pod itself; give an address that pods reach'


def hidden_model(model: ModelOptions, options: ClusterOptions) -> Iterator[str]:
    """A base model or tokenizer in a folder; the tokenizer `tiny` comes with the package."""
    if model.base and is_hidden(model.base, options):
        yield _folder("model.base", model.base, "repository")
    if model.tokenizer and model.tokenizer != TINY and is_hidden(model.tokenizer, options):
        yield _folder("model.tokenizer", model.tokenizer, "repository")


def is_hidden(text: str, options: ClusterOptions) -> bool:
    """Whether a source or model is a folder of this machine: neither an address, nor a name on the hub, nor in a volume of Ray's pods.

    The machines of a Ray cluster that exists (`mode: external`) may share folders, which cannot be seen from here.
    """
    is_folder = text.startswith("file://") if "://" in text else hub_name(text) is None
    mounts = [str(mount.get("mountPath", "")).rstrip("/") for mount in options.volumes.mounts]
    mounted = any(text.removeprefix("file://").startswith(f"{mount}/") for mount in mounts)
    return is_folder and not mounted and options.ray.mode != "external"


def is_file(embodiment: str) -> bool:
    """Whether an embodiment is a file, as `load_embodiment` tells it from a preset's name."""
    if "/" in embodiment or embodiment.endswith((".yaml", ".yml")):
        return True
    return embodiment not in preset_names() and Path(embodiment).expanduser().is_file()


def host_of(address: str) -> str:
    """The host of an address, in lower case; empty where it has none."""
    try:
        return urlsplit(address if "://" in address else f"//{address}").hostname or ""
    except ValueError:
        return ""


def _folder(option: str, given: str, of_hub: str) -> str:
    copied = f"copy it to s3:// or give a {of_hub} of the hub (org/name)"
    return f'experiment.{option} is the folder "{given}", which pods cannot see; {copied}'
