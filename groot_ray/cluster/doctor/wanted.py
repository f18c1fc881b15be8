"""What a release will ask Kubernetes for: pods, images, classes, Secrets, ConfigMaps. Pure functions of a document."""

from __future__ import annotations

from groot_ray.experiment.cluster import ClusterOptions, PodOptions, StageOptions
from groot_ray.experiment.document import Document


def most_pods(document: Document, options: ClusterOptions) -> dict[str, int]:
    """Most pods that any stage has, by group, without empty groups. On an external Ray cluster there are none."""
    if options.ray.mode == "external":
        return {}
    groups = {"head": 1}
    for stage in options.stages.values():
        if stage.enabled:
            for group, pods in pods_of(document, stage, options).items():
                groups[group] = max(groups.get(group, 0), pods)
    return {group: pods for group, pods in groups.items() if pods}


def pods_of(document: Document, stage: StageOptions, options: ClusterOptions) -> dict[str, int]:
    """Most pods of each group for a stage; the same rule as the chart's template groot.pods."""
    training = document.experiment.training
    trainers = training.workers[1]
    cpu = trainers if stage.cpu == "training" else int(stage.cpu)
    if training.use_gpu is False:
        return {"cpu": max(cpu, trainers if stage.gpu == "training" else int(stage.gpu)), "gpu": 0}
    per_pod = options.ray.gpu.gpus or 1
    return {"cpu": cpu, "gpu": -(-trainers // per_pod) if stage.gpu == "training" else int(stage.gpu)}


def images_of(document: Document, options: ClusterOptions) -> list[str]:
    """The images of the release's pods, each once: of the Jobs, and of every group of every stage."""
    named = {"data": options.image.data, "train": options.image.train}
    wanted = ["data"]
    for stage in options.stages.values():
        if stage.enabled and options.ray.mode != "external":
            used = {"head": 1, **pods_of(document, stage, options)}
            wanted += [getattr(options.ray, group).image or stage.image for group, pods in used.items() if pods]
    return list(dict.fromkeys(named.get(image, image) for image in wanted))


def named_objects(options: ClusterOptions) -> list[tuple[str, str]]:
    """The Secrets, ConfigMaps and service account that the document names, as (kind, name)."""
    wanted = [("Secret", name) for name in [*options.environment.credentials, *options.image.pull_secrets]]
    wanted += [("ConfigMap", name) for name in options.environment.config_maps]
    if options.environment.ca_bundle:
        wanted.append(("ConfigMap", options.environment.ca_bundle))
    if options.ray.token_secret:
        wanted.append(("Secret", options.ray.token_secret))
    if options.security.service_account:
        wanted.append(("ServiceAccount", options.security.service_account))
    return list(dict.fromkeys(wanted))


def named_classes(document: Document, options: ClusterOptions) -> dict[tuple[str, str], list[str]]:
    """The classes that pods ask for, by (kind, name), each with the options that name it. Empty groups ask for none."""
    named = [("PriorityClass", options.jobs.priority_class, "cluster.jobs.priority_class")]
    for group in most_pods(document, options):
        pod: PodOptions = getattr(options.ray, group)
        prefix = f"cluster.ray.{group}"
        named.append(("PriorityClass", pod.priority_class, f"{prefix}.priority_class"))
        named.append(("RuntimeClass", pod.runtime_class, f"{prefix}.runtime_class"))
        named.append(("StorageClass", pod.cache.storage_class, f"{prefix}.cache.storage_class"))
    options_of: dict[tuple[str, str], list[str]] = {}
    for kind, name, option in named:
        if name:
            options_of.setdefault((kind, name), []).append(option)
    return options_of
