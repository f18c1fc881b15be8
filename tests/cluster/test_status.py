"""`cluster status`: Jobs, Ray jobs and results of a release, from Kubernetes, the Jobs' logs and storage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from api_server import ApiServer

from groot_ray.cluster.status.status import describe
from groot_ray.experiment.document import Document, build_document
from groot_ray.stages import run_stage
from groot_ray.stages.place import planning_folder
from groot_ray.storage.lease import claim_attempt

SPACE = "/api/v1/namespaces/robots"
JOBS = "/apis/batch/v1/namespaces/robots/jobs"


@pytest.fixture
def document(tmp_path: Path, aloha_dataset: Path) -> Document:
    experiment = {
        "name": "walk",
        "storage": {"uri": str(tmp_path / "storage")},
        "source": {"uri": str(aloha_dataset)},
        "embodiment": "aloha_gr1",
    }
    return build_document({"experiment": experiment})


def release(document: Document) -> ApiServer:
    """What Kubernetes has of a release: its ConfigMap."""
    data = {"document.json": document.model_dump_json(by_alias=True), "stage-download.json": "{}"}
    data["stage-convert.json"] = json.dumps({"after": "download"})
    return ApiServer({f"{SPACE}/configmaps/walk": {"data": data}})


def lines(kube: ApiServer) -> dict[str, str]:
    """The line of each stage."""
    return {line.split()[0]: line for line in describe(kube.client(), "walk").splitlines()[1:] if "!" not in line}


def put(kube: ApiServer, stage: str, component: str, path: str, **item: Any) -> None:
    """Add an object of a stage; its name is the last part of the path."""
    labels = {"groot-ray/stage": stage, "groot-ray/component": component}
    name = path.rsplit("/", 1)[-1]
    metadata = {"name": name, "uid": name, "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z"}
    kube.objects[path] = {"metadata": metadata, "spec": {}, "status": {}, **item}


def test_jobs_and_ray_jobs_are_named(document: Document) -> None:
    kube = release(document)
    put(kube, "convert", "job", f"{JOBS}/walk-convert-1a2b")
    put(kube, "convert", "job", f"{SPACE}/pods/walk-convert-1a2b-x", spec={"containers": []})
    said = "12:00:00 Ray job walk-convert-key-1 is {}\n"
    kube.logs["walk-convert-1a2b-x"] = said.format("PENDING") + said.format("RUNNING") + "12:00:01 noise\n" * 9000
    kube.logs["walk-convert-1a2b-x"] += "12:00:09 convert 3/9 episodes, 2 left\n"
    line = lines(kube)["convert"]
    assert "waiting  Job walk-convert-1a2b; Ray job walk-convert-key-1 RUNNING" in line
    assert line.endswith("convert 3/9 episodes, 2 left")
    kube.logs["walk-convert-1a2b-x"] += said.format("FAILED")
    assert "Ray job walk-convert-key-1 FAILED" in lines(kube)["convert"]


def test_what_is_in_storage_outlives_the_jobs(document: Document) -> None:
    kube = release(document)
    assert lines(kube)["download"].split()[1] == "gone"
    run_stage(document, "download")
    attempt = claim_attempt(
        planning_folder(document.experiment, "convert"), name=lambda number: {"submission": f"sent-{number}"}
    )
    assert attempt is not None
    assert lines(kube)["convert"].split()[1:] == ["gone", "Ray", "job", "sent-1", "RUNNING"]
    attempt.end(65, "episode 3 is broken")
    assert lines(kube)["download"].split()[1:] == ["done"]
    assert lines(kube)["convert"].split()[1:] == ["gone", "Ray", "job", "sent-1", "FAILED"]


def test_an_invalid_endpoint_gives_a_warning(
    document: Document, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://minio:abc")
    data = document.model_dump(by_alias=True)
    data["experiment"]["storage"]["uri"] = "s3://bucket/experiments"
    kube = release(build_document(data))
    put(kube, "convert", "job", f"{JOBS}/walk-convert-1a2b")
    assert "waiting  Job walk-convert-1a2b" in lines(kube)["convert"]
    assert "the storage endpoint http://minio:abc is not an address" in caplog.text


def test_storage_knows_the_ray_job_better_than_a_long_log(document: Document) -> None:
    kube = release(document)
    put(kube, "convert", "job", f"{JOBS}/walk-convert-1a2b")
    put(kube, "convert", "job", f"{SPACE}/pods/walk-convert-1a2b-x", spec={"containers": []})
    kube.logs["walk-convert-1a2b-x"] = "12:00:00 Ray job walk-convert-key-1 is RUNNING\n" + "12:00:01 noise\n" * 9000
    for number in (1, 2):
        attempt = claim_attempt(
            planning_folder(document.experiment, "convert"),
            name=lambda number: {"submission": f"walk-convert-key-{number}"},
        )
        assert attempt is not None
        assert f"Ray job walk-convert-key-{number} RUNNING" in lines(kube)["convert"]
        attempt.end(75, "its head was lost")
    assert "Ray job walk-convert-key-2 FAILED" in lines(kube)["convert"]


def test_storage_that_cannot_be_reached_hides_nothing_else(document: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    data = document.model_dump(by_alias=True)
    data["experiment"]["storage"]["uri"] = "s3://bucket/experiments"
    kube = release(build_document(data))
    put(kube, "convert", "job", f"{JOBS}/walk-convert-1a2b")
    assert lines(kube)["download"].split()[1] == "gone"
    assert "waiting  Job walk-convert-1a2b" in lines(kube)["convert"]


def test_a_cluster_that_the_operator_rejects_gives_advice(document: Document) -> None:
    kube = release(document)
    put(kube, "convert", "job", f"{JOBS}/walk-convert-1a2b")
    put(kube, "convert", "ray", "/apis/ray.io/v1/namespaces/robots/rayclusters/walk-convert")
    put(
        kube,
        "convert",
        "ray",
        f"{SPACE}/events/one",
        type="Warning",
        reason="InvalidRayClusterMetadata",
        message="The RayCluster metadata is invalid: name is too long",
        involvedObject={"name": "walk-convert", "uid": "walk-convert"},
    )
    assert "! walk-convert: The RayCluster metadata is invalid: name is too long" in describe(kube.client(), "walk")
