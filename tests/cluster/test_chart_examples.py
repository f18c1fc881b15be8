"""Experiment files of this repository as values of the chart."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from chart_cases import CLUSTERED, EXPERIMENTS
from chart_objects import check_objects
from rendering import CHART, REPOSITORY, Helm, of_kind, pod_templates, settings

from groot_ray.embodiment import load_embodiment
from groot_ray.experiment.cluster import quantity
from groot_ray.experiment.document import build_document, load_document
from groot_ray.experiment.render import rendered


def test_the_demo_fits_a_small_laptop(helm4: Helm) -> None:
    """2 cores and 8 GiB, less what Kubernetes (kind, or minikube with Calico) and KubeRay request, and a margin."""
    objects = helm4.render([REPOSITORY / "k8s" / "demo.yaml"])
    minio = next(
        i for i in yaml.safe_load_all((REPOSITORY / "k8s" / "minio.yaml").read_text()) if i["kind"] == "Deployment"
    )
    others = [t for where, t in pod_templates(objects) if where.startswith("Job/")] + [minio["spec"]["template"]]
    for stage, stage_settings in settings(objects).items():
        cluster = stage_settings["manifest"]["spec"]
        pods = [cluster["headGroupSpec"]["template"], *others]
        for group in cluster["workerGroupSpecs"]:
            pods += [group["template"]] * group["maxReplicas"]
        asked = [c["resources"]["requests"] for pod in pods for c in pod["spec"]["containers"]]
        asked.append(cluster["autoscalerOptions"]["resources"]["requests"])
        cores, memory = (sum(quantity(request[kind]) for request in asked) for kind in ("cpu", "memory"))
        assert cores < 2 - 1.1 - 0.1 - 0.1, f"{stage} requests {cores:.2f} cores"
        assert memory < (8 - 0.4 - 0.5 - 0.4) * 2**30, f"{stage} requests {memory / 2**30:.2f} GiB"


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
    """Unchanged, except for where data is; a robot given as a file goes through `groot-ray experiment render`."""
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
