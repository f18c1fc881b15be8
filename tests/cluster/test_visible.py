"""What pods cannot see: the doctor and the chart say the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import Helm, minimal, put

from groot_ray.cluster.doctor.visible import hidden_from_pods, host_of
from groot_ray.experiment.document import build_document, load_document

MODELS = {
    "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}],
    "mounts": [{"name": "models", "mountPath": "/models"}],
}

REACHED = "it must be an address that pods reach: this one is each pod itself"


def changed(**places: Any) -> dict[str, Any]:
    """The smallest document with values at places (dots written as __)."""
    values = minimal()
    for place, value in places.items():
        put(values, place.replace("__", "."), value)
    return values


def hidden(values: dict[str, Any]) -> list[str]:
    return list(hidden_from_pods(build_document(values)))


@pytest.mark.parametrize(
    "places",
    [
        {},
        {"experiment__source__uri": "org/recordings"},
        {"experiment__source__uri": "hf://datasets/org/recordings"},
        {"experiment__model": {"base": "org/model", "tokenizer": "org/vocabulary"}},
        {"experiment__model": {"base": "s3://bucket/model", "tokenizer": "s3://bucket/vocabulary"}},
        {"experiment__model": {"base": None, "size": "tiny"}},
        {"experiment__model": {"base": None, "size": "tiny", "tokenizer": "tiny"}},
        {"experiment__model": {"base": "/models/GR00T"}, "cluster__volumes": MODELS},
        {
            "experiment__model": {"base": "/models/GR00T"},
            "cluster__ray": {"mode": "external", "address": "http://ray:8265"},
        },
        {
            "experiment__storage__endpoint": "http://localhost:9000",
            "cluster__environment__variables": {"AWS_ENDPOINT_URL_S3": "http://minio:9000"},
        },
        {"experiment__embodiment": {"preset": "aloha_gr1"}},
        {"experiment__storage__endpoint": "http://minio:9000"},
        {"experiment__storage__endpoint": "https://localhost.example.com"},
        {"cluster__environment__variables": {"HF_ENDPOINT": "http://10.127.0.1:80", "NOTE": "http://localhost"}},
    ],
)
def test_what_pods_see_is_no_matter(helm4: Helm, places: dict[str, Any]) -> None:
    assert hidden(changed(**places)) == []
    assert helm4.render(changed(**places)), "the chart takes it too"


@pytest.mark.parametrize(
    ("place", "given", "said"),
    [
        ("experiment.storage.uri", "./outputs", "it must be s3://bucket/prefix: pods would lose a folder"),
        ("experiment.storage.uri", "file:///data", "it must be s3://bucket/prefix: pods would lose a folder"),
        ("experiment.source.uri", "./data", "or give a dataset of the hub (org/name)"),
        ("experiment.source.uri", "/data/recordings", "or give a dataset of the hub (org/name)"),
        ("experiment.source.uri", "~/recordings", "or give a dataset of the hub (org/name)"),
        ("experiment.source.uri", "file:///data", "or give a dataset of the hub (org/name)"),
        ("experiment.model.base", "/models/GR00T-N1.6-3B", "or give a repository of the hub (org/name)"),
        ("experiment.model.base", "~/models/GR00T-N1.6-3B", "or give a repository of the hub (org/name)"),
        ("experiment.model.base", "models/of/mine", "or give a repository of the hub (org/name)"),
        ("experiment.model.base", "GR00T-N1.6-3B", "or give a repository of the hub (org/name)"),
        ("experiment.model.base", "file:///models/GR00T-N1.6-3B", "or give a repository of the hub (org/name)"),
        ("experiment.model.tokenizer", "../Qwen3", "or give a repository of the hub (org/name)"),
        ("experiment.embodiment", "robots/arm.yaml", "groot-ray experiment render EXPERIMENT.yaml > rendered.yaml"),
        ("experiment.embodiment", "arm.yml", "groot-ray experiment render EXPERIMENT.yaml > rendered.yaml"),
        ("experiment.training.modality_config_path", "arm.py", "describe the embodiment in the document instead"),
        ("experiment.storage.endpoint", "http://localhost:9000", REACHED),
        ("experiment.storage.endpoint", "http://[::1]:9000", REACHED),
        ("cluster.environment.variables.AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000", REACHED),
        ("cluster.environment.variables.AWS_ENDPOINT_URL", "https://localhost/s3", REACHED),
        ("cluster.environment.variables.HF_ENDPOINT", "http://127.1.2.3", REACHED),
        ("cluster.environment.variables.WANDB_BASE_URL", "http://localhost", REACHED),
    ],
)
def test_doctor_and_chart_refuse_in_the_same_words(helm4: Helm, place: str, given: str, said: str) -> None:
    values = changed(**{place.replace(".", "__"): given})
    (sentence,) = hidden(values)
    assert sentence.startswith(f"{place} is ") and sentence.endswith(said)
    refusal = helm4.refusal(values)
    if "it must be " in sentence:  # a rule of one option: Helm names place and advice in its own way
        rule = sentence.partition("it must be ")[2]
        assert rule in refusal and (place in refusal or place.replace(".", "/") in refusal)
    else:
        assert sentence in refusal


def test_all_problems_are_found_at_once(tmp_path: Path) -> None:
    """Relative paths are shown as they were read: absolute if they are beside the file."""
    for name in ("recordings", "model"):
        (tmp_path / name).mkdir()
    (tmp_path / "arm.yaml").write_text("preset: aloha_gr1")
    values = changed(
        experiment__storage={"uri": "s3://bucket/experiments", "endpoint": "http://localhost:9000"},
        experiment__source={"uri": "recordings"},
        experiment__model={"base": "model"},
        experiment__embodiment="arm.yaml",
        experiment__training={"modality_config_path": "arm.py"},
    )
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(values))
    hidden = list(hidden_from_pods(load_document(tmp_path / "experiment.yaml")))
    assert [re.split("[,;]", sentence)[0] for sentence in hidden] == [
        'experiment.storage.endpoint is "http://localhost:9000"',
        f'experiment.source.uri is the folder "{tmp_path}/recordings"',
        f'experiment.model.base is the folder "{tmp_path}/model"',
        f'experiment.embodiment is "{tmp_path}/arm.yaml"',
        'experiment.training.modality_config_path is "arm.py"',
    ]


def test_what_looks_like_a_name_and_is_here_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = changed(experiment__source={"uri": "org/name"}, experiment__embodiment="arm")
    monkeypatch.chdir(tmp_path)
    assert hidden(values) == []
    (tmp_path / "org" / "name").mkdir(parents=True)
    for name in ("arm", "aloha_gr1"):
        (tmp_path / name).write_text("preset: aloha_gr1")
    source, embodiment = hidden(values)
    assert 'is the folder "org/name"' in source and 'embodiment is "arm"' in embodiment
    assert hidden(minimal()) == [], "a preset wins over a file of its name"


def test_without_a_cluster_part() -> None:
    values = {"experiment": changed(experiment__storage__endpoint="http://storage.localhost")["experiment"]}
    (sentence,) = hidden(values)
    assert "is each pod itself" in sentence


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("http://MinIO:9000/x", "minio"),
        ("localhost:9000", "localhost"),
        ("http://[::1]:9000", "::1"),
        ("http://[::1", ""),
        ("", ""),
    ],
)
def test_hosts_of_addresses(address: str, host: str) -> None:
    assert host_of(address) == host
