"""Hub datasets are pinned by commit, copied completely, resumed file by file; every failure is one sentence."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from documents import document
from small_hub import Hub, small_hub

from groot_ray.errors import ConfigurationError, DataError, GrootRayError, ServiceUnavailableError
from groot_ray.hub import hub_name
from groot_ray.stages import run_stage
from groot_ray.stages.download import dataset_location
from groot_ray.stages.finetune import pinned_model
from groot_ray.stages.pin import pin_model
from groot_ray.stages.registry import open_work
from groot_ray.storage import upload_tree
from groot_ray.storage.manifest import read_files

NAME = "lerobot/aloha"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with small_hub(Hub()) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


@pytest.fixture
def source(aloha_dataset: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(aloha_dataset, tmp_path / "source"))


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [
        hub_name(text)
        for text in ("hf://org/name", "hf://datasets/org/name", "org/name", "./org/name", "/a/b", "s3://b/x", "name")
    ] == [
        "org/name",
        "org/name",
        "org/name",
        None,
        None,
        None,
        None,
    ]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org/name").mkdir(parents=True)
    assert hub_name("org/name") is None, "an existing folder takes precedence"


@pytest.mark.parametrize("uri", [f"hf://{NAME}", NAME])
def test_a_hub_dataset_is_copied_at_its_commit(hub: Hub, source: Path, tmp_path: Path, uri: str) -> None:
    commit = hub.push(NAME, source)
    doc = document(uri, tmp_path / "out", tmp_path / "cache")
    made = run_stage(doc, "download")
    copied = {entry.relative: entry.location.read_bytes() for entry in (made.folder / "dataset").list()}
    assert copied == hub.commits[commit] and dataset_location(open_work(doc)) == made.folder / "dataset"
    assert (made.folder / "provenance.json").read_json()["revision"] == commit
    assert {record.path for record in read_files(made.folder)} == {f"dataset/{path}" for path in copied}


def test_a_branch_that_moves_makes_a_new_plan(hub: Hub, source: Path, tmp_path: Path) -> None:
    hub.push(NAME, source, "v2.1")
    doc = document(f"hf://{NAME}", tmp_path / "out", tmp_path / "cache", source__revision="v2.1")
    first = run_stage(doc, "download")
    (source / "README.md").write_text("more about it")
    second_commit = hub.push(NAME, source, "v2.1")
    assert open_work(doc).source.revision != second_commit
    second = run_stage(doc, "download")
    assert second.folder != first.folder and open_work(doc).source.revision == second_commit
    hub.down = True
    assert run_stage(doc, "download").state == "skipped", "a pinned and copied dataset needs no hub"


def test_an_interrupted_download_is_resumed(hub: Hub, source: Path, tmp_path: Path) -> None:
    hub.push(NAME, source)
    hub.damaged.add("data/chunk-000/episode_000003.parquet")
    doc = document(f"hf://{NAME}", tmp_path / "out", tmp_path / "cache")
    with pytest.raises(DataError, match=r"episode_000003\.parquet .* does not match what the hub announced"):
        run_stage(doc, "download")
    folder = open_work(doc).place("download").folder
    assert (
        not (folder / "manifest.json").exists()
        and not (folder / "dataset/data/chunk-000/episode_000003.parquet").exists()
    )
    before = {entry.relative for entry in (folder / "dataset").list()}
    hub.damaged.clear()
    hub.downloads.clear()
    made = run_stage(doc, "download")
    again = {path for path in hub.downloads if not path.startswith("meta/")}  # metadata is read for the pin
    assert made.folder == folder and "data/chunk-000/episode_000003.parquet" in again and not again & before
    assert len(list((folder / "dataset").list())) == len(hub.commits[open_work(doc).source.revision])


def test_only_the_chosen_episodes_are_fetched(hub: Hub, source: Path, tmp_path: Path) -> None:
    hub.push(NAME, source)
    made = run_stage(
        document(f"hf://{NAME}", tmp_path / "out", tmp_path / "cache", source__episodes=[0, 2]), "download"
    )
    copied = [entry.relative for entry in (made.folder / "dataset").list()]
    assert any("episode_000002" in path for path in copied) and not any("episode_000001" in path for path in copied)


def test_a_private_dataset_needs_its_token(
    hub: Hub, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.push(NAME, source)
    hub.token = "hf_right"
    doc = document(f"hf://{NAME}", tmp_path / "out", tmp_path / "cache")
    with pytest.raises(ConfigurationError, match="HF_TOKEN"):
        run_stage(doc, "download")
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    assert run_stage(doc, "download").state == "done"


def test_each_failure_is_one_sentence(hub: Hub, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.push(NAME, source)

    def problem(uri: str, **changes: object) -> GrootRayError:
        with pytest.raises(GrootRayError) as caught:
            run_stage(document(uri, tmp_path / "out", tmp_path / "cache", **changes), "download")
        assert "\n" not in str(caught.value)
        return caught.value

    error = problem("hf://lerobot/nothing")
    assert (
        isinstance(error, ConfigurationError)
        and "from lerobot/nothing at http" in str(error)
        and "no such repository" in str(error)
    )
    error = problem(f"hf://{NAME}", source__revision="v9")
    assert isinstance(error, ConfigurationError) and "no revision 'v9'" in str(error)
    hub.down = True
    error = problem(f"hf://{NAME}")
    assert isinstance(error, ServiceUnavailableError) and "503" in str(error)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        error = problem(f"hf://{NAME}")
        assert isinstance(error, ServiceUnavailableError) and "does not answer" in str(error)


def test_offline_is_the_users_configuration(hub: Hub, source: Path, tmp_path: Path) -> None:
    """For datasets and models alike. In its own process, because the hub library reads the variable on import."""
    hub.push(NAME, source)
    hub.push("nvidia/GR00T", checkpoint(tmp_path / "model"))
    code = (
        "import sys\nfrom groot_ray.errors import GrootRayError\nfrom groot_ray.hub import fetch_files, resolve\n"
        "for ask in (lambda: resolve('lerobot/aloha', 'dataset', None),\n"
        "            lambda: resolve('nvidia/GR00T', 'model', None),\n"
        "            lambda: fetch_files('nvidia/GR00T', ['config.json'])):\n"
        "    try: print('reached', ask())\n"
        "    except GrootRayError as error: print(error.exit_code, error)\n"
    )

    def lines(**environment: str) -> list[str]:
        ran = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=True
        )
        return ran.stdout.splitlines()

    offline = lines(HF_HUB_OFFLINE="1")
    assert len(offline) == 3
    for line, what in zip(offline, ("the dataset from lerobot/aloha", "the model from", "the model from"), strict=True):
        assert (
            line.startswith(f"64 cannot fetch {what}")
            and "HF_HUB_OFFLINE is set and the cache does not have it" in line
        )
    assert all(line.startswith("reached") for line in lines())
    dataset, model, files = lines(HF_HUB_OFFLINE="1")
    assert dataset.startswith("64") and model.startswith("reached") and files.startswith("reached"), "the cache is used"


MODEL = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "processor_config.json": b"{}",
    "statistics.json": b"{}",
}


def checkpoint(folder: Path, **changes: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in {**MODEL, **{key.replace("__", "."): value for key, value in changes.items()}}.items():
        (folder / name).write_bytes(data)
    return folder


def test_a_base_model_is_pinned_by_its_weights(s3, tmp_path: Path) -> None:
    def content(base: str | Path, storage: str = "out") -> str | None:
        doc = document(tmp_path, tmp_path / storage, tmp_path / "cache", model__base=str(base))
        work = open_work(doc)
        return pin_model(work.root, doc.experiment, refresh=True).content

    first = content(checkpoint(tmp_path / "a"))
    assert content(checkpoint(tmp_path / "b", optimizer__safetensors=b"state", README__md=b"about")) == first
    assert content(checkpoint(tmp_path / "c", model__safetensors=b"other weights")) != first
    assert content(checkpoint(tmp_path / "a", model__safetensors=b"trained on")) != first, (
        "the folder has changed since"
    )
    upload_tree(tmp_path / "b", s3.location / "model")
    assert content(f"{s3.uri}/model") == first
    assert document(tmp_path, tmp_path, tmp_path).experiment.model.base is None
    with pytest.raises(ConfigurationError, match=r"not a checkpoint: it has no config\.json"):
        content(f"{s3.uri}/elsewhere")


def test_a_base_model_of_the_hub_is_pinned_by_its_commit(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doc = document(tmp_path, tmp_path / "out", tmp_path / "cache", model__base="nvidia/GR00T")
    commit = hub.push("nvidia/GR00T", checkpoint(tmp_path / "model"))
    work = open_work(doc)
    assert work.model.revision == commit and pinned_model(work).revision == commit
    hub.push("nvidia/GR00T", checkpoint(tmp_path / "model", model__safetensors=b"newer"))
    assert open_work(doc).model.revision == commit, "a pin stays until it is refreshed"
    hub.down = True
    assert open_work(doc, refresh=True).model.revision == commit, "and if the hub does not answer"
    with pytest.raises(ServiceUnavailableError):
        _ = open_work(document(tmp_path, tmp_path / "new", tmp_path / "cache", model__base="nvidia/GR00T")).model
    hub.down = False
    assert open_work(doc, refresh=True).model.revision != commit
