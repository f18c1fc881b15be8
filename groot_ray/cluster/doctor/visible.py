"""What a document names that pods cannot see: folders and files of this machine, and addresses of localhost.

The chart rejects the same with the same messages (groot_ray.experiment.values, and templates/_checks.tpl for rules that
compare two options). Only the doctor knows which paths exist here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from groot_ray.embodiment.load import preset_names
from groot_ray.experiment.cluster import ClusterOptions
from groot_ray.experiment.document import Document
from groot_ray.experiment.rules import Never, Only
from groot_ray.experiment.schema import ModelOptions, StorageOptions
from groot_ray.experiment.values import ENDPOINTS, IN_STORAGE, INLINE, NO_MODALITY_CONFIG, POD_ADDRESS, S3_ENDPOINTS
from groot_ray.hub import hub_name
from groot_ray.model.shared.tokenizer import TINY

OWN_HOST = re.compile(r"(.+\.)?localhost|127(\.[0-9]+){1,3}|::1")


def hidden_from_pods(document: Document) -> Iterator[str]:
    """Sentences about what a document names and pods cannot see; empty if they see everything."""
    experiment, options = document.experiment, document.cluster or ClusterOptions()
    yield from hidden_storage(experiment.storage, options)
    if is_hidden(experiment.source.uri, options):
        yield _folder("source.uri", experiment.source.uri, "dataset")
    yield from hidden_model(experiment.model, options)
    if isinstance(experiment.embodiment, str) and is_file(experiment.embodiment):
        yield _must_be("experiment.embodiment", experiment.embodiment, INLINE)
    if file := experiment.training.modality_config_path:
        yield _must_be("experiment.training.modality_config_path", file, NO_MODALITY_CONFIG)


def hidden_storage(storage: StorageOptions, options: ClusterOptions) -> Iterator[str]:
    """Storage in a folder, and addresses of storage and hub that each pod takes for itself."""
    if "://" not in storage.uri or storage.uri.startswith("file://"):
        yield _must_be("experiment.storage.uri", storage.uri, IN_STORAGE)
    variables = options.environment.variables
    addresses = {f"cluster.environment.variables.{name}": variables.get(name) for name in ENDPOINTS}
    if not any(name in variables for name in S3_ENDPOINTS):
        addresses["experiment.storage.endpoint"] = storage.endpoint
    for option, address in addresses.items():
        if address and OWN_HOST.fullmatch(host_of(address)):
            yield _must_be(option, address, POD_ADDRESS)


def hidden_model(model: ModelOptions, options: ClusterOptions) -> Iterator[str]:
    """A base model or tokenizer in a folder; the tokenizer `tiny` comes with the package."""
    if model.base and is_hidden(model.base, options):
        yield _folder("model.base", model.base, "repository")
    if model.tokenizer and model.tokenizer != TINY and is_hidden(model.tokenizer, options):
        yield _folder("model.tokenizer", model.tokenizer, "repository")


def is_hidden(text: str, options: ClusterOptions) -> bool:
    """Whether a source or model is a folder of this machine: no address, hub name, or path in a volume of Ray's pods.

    The machines of an external Ray cluster may share folders, which cannot be seen from here.
    """
    is_folder = text.startswith("file://") if "://" in text else hub_name(text) is None
    mounts = [str(mount.get("mountPath", "")).rstrip("/") for mount in options.volumes.mounts]
    mounted = any(text.removeprefix("file://").startswith(f"{mount}/") for mount in mounts)
    return is_folder and not mounted and options.ray.mode != "external"


def is_file(embodiment: str) -> bool:
    """Whether an embodiment is a file and not a preset's name; `load_embodiment` decides the same way."""
    if "/" in embodiment or embodiment.endswith((".yaml", ".yml")):
        return True
    return embodiment not in preset_names() and Path(embodiment).expanduser().is_file()


def host_of(address: str) -> str:
    """The host of an address, in lower case; empty if it has none."""
    try:
        return urlsplit(address if "://" in address else f"//{address}").hostname or ""
    except ValueError:
        return ""


def _must_be(option: str, given: str, rule: Never | Only) -> str:
    return f'{option} is "{given}"; it must be {rule.instead}'


def _folder(option: str, given: str, of_hub: str) -> str:
    copied = f"copy it to s3:// or give a {of_hub} of the hub (org/name)"
    return f'experiment.{option} is the folder "{given}", which pods cannot see; {copied}'
