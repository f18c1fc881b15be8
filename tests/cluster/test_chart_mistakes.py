"""Mistakes in values: Helm 3, Helm 4 and the document refuse the same, each with a sentence that names the place."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rendering import Helm, minimal, put

from groot_ray.errors import ConfigurationError
from groot_ray.experiment.cluster.environment import CREDENTIALS, SECRET_NAME
from groot_ray.experiment.document import build_document

SECRETS = "a Secret and name that in cluster.environment.credentials"
CHARTS_OWN = "the chart sets this name itself; choose another"
STAGES = "download, convert, finetune, evaluate"

# Rules of one option, which the schema states: keys of the place below `cluster`, a wrong value, what to do.
OF_ONE_OPTION = [
    (("stages", "finetun"), {"gpu": 8}, STAGES),
    (("stages", "tune"), {"after": "finetune", "gpu": 1, "image": "train"}, STAGES),
    (("stages", "convert", "after"), "downlod", "download"),
    (("environment", "proxy"), "http://me:hunter2@proxy", SECRETS),
    (("environment", "variables", "HTTPS_PROXY"), "http://me:hunter2@proxy", SECRETS),
    (("environment", "variables", "hf_token"), "hunter2", SECRETS),
    (("environment", "variables", "AWS_SECRET_ACCESS_KEY"), "hunter2", SECRETS),
    (("ray", "gpu", "env", "WANDB_API_KEY"), "hunter2", SECRETS),
    (("ray", "head", "ray_start_params", "redis-password"), "hunter2", SECRETS),
    (("stages", "convert", "env", "DB_PASSWORD"), "hunter2", SECRETS),
    (("stages", "convert", "env", "MIRROR"), "https://me:hunter2@mirror/x", SECRETS),
    (("ray", "gpu", "labels", "groot-ray/component"), "evil", CHARTS_OWN),
    (("ray", "cpu", "labels", "app.kubernetes.io/instance"), "x", CHARTS_OWN),
    (("ray", "head", "annotations", "groot-ray/digest"), "x", CHARTS_OWN),
    (("monitoring", "pod_monitor_labels", "groot-ray/release"), "x", CHARTS_OWN),
    (("monitoring", "dashboard_labels", "ray.io/cluster"), "x", CHARTS_OWN),
    (("ray", "gpu", "resources", "memory"), "1Gi", "an option of its own, cpu_request or memory"),
    (("ray", "head", "resources", "cpu"), "1", "an option of its own, cpu_request or memory"),
]

# Rules that compare options, which the templates state: options below `cluster`, the sentence.
OF_SEVERAL_OPTIONS = [
    (
        {"stages": {"convert": {"after": "evaluate"}}},
        "convert.after forms a cycle: convert after evaluate after finetune",
    ),
    (
        {"stages": {"convert": {"after": "convert"}}},
        "cluster.stages.convert.after forms a cycle: convert after convert",
    ),
    ({"stages": {"convert": None}}, 'finetune.after names "convert", which this release does not have'),
    ({"stages": {name: {"enabled": False} for name in STAGES.split(", ")}}, "no enabled stage; enable at least one"),
    ({"ray": {"gpu": {"resources": {"nvidia.com/gpu": "1"}}}}, "resources.nvidia.com/gpu has an option of its own"),
    ({"ray": {"cpu": {"gpu_resource": "amd.com/gpu", "resources": {"amd.com/gpu": "1"}}}}, "cluster.ray.cpu.gpus"),
    ({"ray": {"mode": "external"}}, "mode external needs cluster.ray.address, the http address"),
    ({"ray": {"mode": "static"}}, "mode static needs cluster.ray.token_secret"),
    ({"queue": "q", "ray": {"mode": "static", "token_secret": "t"}}, "because Kueue admits RayClusters"),
    ({"jobs": {"memory": "64Mi"}}, "cluster.jobs.memory is 64Mi, and a Job needs 80 MB"),
    ({"jobs": {"memory": "95.9Mi"}}, "give 96Mi or more"),
]


def names(sentence: str, place: Sequence[str]) -> bool:
    """Whether a sentence names a place: as Helm 3 and the document do, or as the JSON pointer of Helm 4."""
    pointer = "".join(f"/{key.replace('/', '~1')}" for key in place)
    return ".".join(place) in sentence or f"'{pointer}'" in sentence


def of_document(values: dict[str, Any]) -> str:
    """The sentence with which `groot-ray experiment check` refuses a document."""
    with pytest.raises(ConfigurationError) as refused:
        build_document(values)
    return str(refused.value)


@pytest.mark.parametrize(("place", "value", "advice"), OF_ONE_OPTION, ids=lambda item: str(item)[:40])
def test_a_wrong_option_is_named_with_what_to_do(helm: Helm, place: tuple[str, ...], value: Any, advice: str) -> None:
    values = minimal()
    node = values["cluster"]
    for key in place[:-1]:
        node = node.setdefault(key, {})
    node[place[-1]] = value
    for said in (helm.refusal(values), of_document(values)):
        assert names(said, ("cluster", *place)) and advice in said, said
        assert "hunter2" not in said


@pytest.mark.parametrize(("cluster", "sentence"), OF_SEVERAL_OPTIONS)
def test_options_that_do_not_fit_are_named_alike(helm: Helm, cluster: dict[str, Any], sentence: str) -> None:
    for said in (helm.refusal(minimal(**cluster)), of_document(minimal(**cluster))):
        assert sentence in said


def test_the_command_that_checks_a_file_names_the_mistake(tmp_path: Path) -> None:
    (tmp_path / "walk.yaml").write_text(json.dumps(minimal(ray={"gpu": {"env": {"HF_TOKEN": "hunter2"}}})))
    words = [sys.executable, "-m", "groot_ray.cli.main", "experiment", "check", str(tmp_path / "walk.yaml")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 64, done.stdout + done.stderr
    assert "'cluster.ray.gpu.env.HF_TOKEN': must be left out: it looks like a secret" in done.stderr
    assert SECRETS in done.stderr and "hunter2" not in done.stderr


def test_volumes_of_the_chart_keep_their_names(helm: Helm) -> None:
    for name in ("scratch", "tmp", "shared-memory", "ca-bundle"):
        values = minimal(volumes={"volumes": [{"name": "data", "emptyDir": {}}, {"name": name, "emptyDir": {}}]})
        for said in (helm.refusal(values), of_document(values)):
            assert names(said, ("cluster", "volumes", "volumes", "1", "name")), said
            assert "another name: the chart has a volume of this name" in said


def test_all_mistakes_of_single_options_are_told_at_once(helm: Helm) -> None:
    values = minimal(
        stages={"tune": {}}, ray={"gpu": {"env": {"HF_TOKEN": "x"}}}, environment={"proxy": "http://a:b@c"}
    )
    values["experiment"]["storage"]["uri"] = "./outputs"
    said = helm.refusal(values)
    places = [("stages", "tune"), ("ray", "gpu", "env", "HF_TOKEN"), ("environment", "proxy")]
    for place in [*(("cluster", *place) for place in places), ("experiment", "storage", "uri")]:
        assert names(said, place), said


@pytest.mark.parametrize("pattern", [SECRET_NAME.pattern, CREDENTIALS])
def test_patterns_mean_the_same_everywhere(pattern: str) -> None:
    """Go knows no look-around, and ECMAScript, which editors use, no flags."""
    assert "(?" not in pattern
    assert (
        re.search(SECRET_NAME, "My_Api_Key")
        and re.search(SECRET_NAME, "token")
        and not re.search(SECRET_NAME, "TOKENS")
    )


def test_chart_and_document_take_the_same(helm4: Helm) -> None:
    stages = {"evaluate": {"after": "convert"}, "finetune": {"after": "evaluate"}, "convert": {"after": None}}
    for cluster in ({"stages": stages}, {"jobs": {"memory": "96Mi"}}, {"ray": {"gpu": {"labels": {"groot/x": "y"}}}}):
        assert build_document(minimal(**cluster)) and helm4.render(minimal(**cluster))


# What the chart refuses and a document for one machine may have: the place, a wrong value, what to do.
HIDDEN_FROM_PODS = [
    ("experiment.storage", None, "storage"),
    ("experiment.storage.uri", "./outputs", "s3://bucket/prefix: pods would lose a folder"),
    ("experiment.storage.uri", "file:///data", "s3://bucket/prefix: pods would lose a folder"),
    ("experiment.storage.endpoint", "http://user:hunter2@minio:9000", SECRETS),
    ("experiment.storage.endpoint", "http://localhost:9000", "an address that pods reach"),
    ("experiment.source.uri", "./data", "which pods cannot see; copy it to s3://"),
    ("experiment.source.uri", "https://me:hunter2@example.com/data", SECRETS),
    ("experiment.model.base", "/models/GR00T", "which pods cannot see; copy it to s3://"),
    ("experiment.embodiment", "robots/arm.yaml", "groot-ray experiment render"),
    ("experiment.training.modality_config_path", "x.py", "pods cannot see a file"),
    ("experiment.training.num_workers", 0, " 1"),
    ("cluster.environment.variables.AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000", "an address that pods reach"),
    ("cluster.environment.variables.HF_ENDPOINT", "http://localhost/x", "an address that pods reach"),
]


@pytest.mark.parametrize(("place", "value", "advice"), HIDDEN_FROM_PODS)
def test_what_pods_cannot_see_is_named_with_what_to_do(helm: Helm, place: str, value: Any, advice: str) -> None:
    values = minimal()
    put(values, place, value)
    said = helm.refusal(values)
    assert names(said, place.split(".")) or value is None, said
    assert advice in said and "hunter2" not in said, said


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("cluster.imag", {}),
        ("cluster.ray.gpu.memroy", "1Gi"),
        ("cluster.stages.convert.cpus", 3),
        ("cluster.stages.A stage", {}),
        ("cluster.ray.head.memory", "4 GB"),
        ("experiment.trainig", {}),
        ("experiment.training.max_step", 3),
    ],
)
def test_unknown_keys_and_wrong_values_are_named(helm: Helm, place: str, value: Any) -> None:
    values = minimal()
    put(values, place, value)
    for said in (helm.refusal(values), of_document(values)):
        assert place.split(".")[-1] in said


def test_the_token_of_static_mode_comes_with_the_command_that_makes_it(helm: Helm) -> None:
    assert "kubectl -n default create secret generic ray-token" in helm.refusal(minimal(ray={"mode": "static"}))


@pytest.mark.parametrize(
    "place",
    [
        "cluster", "cluster.ray", "cluster.ray.gpu", "cluster.image", "cluster.security", "cluster.volumes",
        "cluster.jobs.retries", "cluster.security.network.enabled", "cluster.ray.mode", "cluster.ray.gpu.cpus",
        "cluster.ray.head.cache.size", "cluster.stages",
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
