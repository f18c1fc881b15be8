"""The contents of a storage are listed, shown, exported, and removed only if nothing names them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.experiment.plan import ModelPin
from groot_ray.experiment.schema import ModelOptions, SourceOptions, result_options
from groot_ray.stages.catalog import describe_experiment, experiments, experiments_table
from groot_ray.stages.export import export
from groot_ray.stages.garbage import collect_garbage, find_garbage
from groot_ray.storage import Location, open_location
from groot_ray.storage.lease import claim_attempt
from groot_ray.storage.manifest import Manifest, commit_manifest, generation_name, record_files, write_files


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    return (
        open_location(tmp_path / "out")
        if request.param == "local"
        else request.getfixturevalue("s3").location / "experiments"
    )


@pytest.fixture
def experiment(root: Location) -> Location:
    """An experiment as the stages leave it: a converted dataset and a run on it with two targets."""
    folder = root / "demo"
    (folder / "plan/source-1.json").write_json({"listing": "abc.parquet"})
    (folder / "plan/abc.parquet").write_bytes(b"listing")
    make(
        folder,
        "convert",
        "c1",
        {"train/data/0.parquet": b"rows", "train/meta/info.json": b"{}", "test/meta/info.json": b"{}"},
    )
    make_run(folder, "f1", {"convert": "c1"}, steps=(100, 200))
    (folder / "current.json").write_json({"convert": {"folder": "convert/c1", "proof": "manifest.json"}})
    return folder


def make(
    experiment: Location,
    stage: str,
    key: str,
    files: dict[str, bytes],
    inputs: dict | None = None,
    generation: int = 1,
    options: dict | None = None,
) -> Location:
    folder = experiment / stage / generation_name(key, generation)
    attempt = claim_attempt(folder)
    assert attempt is not None
    for path, data in files.items():
        (folder / path).write_bytes(data)
    digest = write_files(folder, record_files(folder, list(files)))
    size = sum(map(len, files.values()))
    manifest = Manifest(
        stage=stage,
        key=key,
        generation=generation,
        version="0.1.0",
        inputs=inputs or {},
        options=options or {},
        files=len(files),
        size=size,
        files_hash=digest,
    )
    commit_manifest(folder, manifest)
    attempt.end(0, "done")
    return folder


def make_run(experiment: Location, key: str, inputs: dict, steps: tuple[int, ...]) -> Location:
    folder = experiment / "finetune" / key
    for step in steps:
        files = {"config.json": b"{}", "model.safetensors": b"weights", "optimizer.safetensors": b"state"}
        for path, data in files.items():
            (folder / f"checkpoint-{step}" / path).write_bytes(data)
        records = [asdict(file) for file in record_files(folder / f"checkpoint-{step}", list(files))]
        made = {"step": step, "files": records, "resume": ["optimizer.safetensors"]}
        commit_manifest(
            folder / f"checkpoint-{step}", Manifest(stage="checkpoint", key=key, version="0.1.0", made=made)
        )
        commit_manifest(
            folder,
            Manifest(stage="finetune", key=key, version="0.1.0", inputs=inputs, made={"step": step}),
            f"done-{step}.json",
        )
    return folder


def paths(folder: Location) -> list[str]:
    return [entry.relative for entry in folder.list()]


def test_experiments_are_listed(root: Location, experiment: Location) -> None:
    (root / "no-experiment/file").write_bytes(b"")
    found = experiments(root)
    assert [(summary.name, summary.done) for summary in found] == [("demo", ("convert", "finetune"))]
    assert found[0].files == len(paths(experiment)) and found[0].size == sum(entry.size for entry in experiment.list())
    assert abs(found[0].used - time.time()) < 60
    table = experiments_table(found).splitlines()
    assert (
        table[0].split() == ["experiment", "size", "files", "last", "use", "done"] and "convert, finetune" in table[1]
    )
    assert experiments_table([]) == "there are no experiments here"


def test_an_experiment_is_shown(experiment: Location) -> None:
    with claim_attempt(experiment / "evaluate/e1"):
        pass
    (experiment / "convert/c2/attempts/1.json").write_json(
        {"number": 1, "owner": "x", "holder": {"host": "node-3", "pid": 7}}
    )
    (experiment / "convert/c2/attempts/1.end.json").write_json({"code": 65, "sentence": "episode 3 is broken"})
    text = describe_experiment(experiment)
    assert "* convert c1: done, 1 attempt" in text
    assert "  convert c2: unfinished, attempt 1 ended with 65: episode 3 is broken" in text
    assert (
        "  finetune f1: done (100, 200 steps)" in text and "checkpoints 100, 200" in text and "from convert c1" in text
    )
    assert text.index("convert c1") < text.index("finetune f1") < text.index("evaluate e1")
    with pytest.raises(ConfigurationError, match=r"no experiment 'dmo' .*did you mean 'demo'"):
        describe_experiment(experiment.parent / "dmo")


def test_a_dataset_and_a_checkpoint_are_exported(experiment: Location, tmp_path: Path) -> None:
    plain = open_location(tmp_path / "plain")
    assert "train of demo: 2 files" in export(experiment, "train", plain / "train")
    assert paths(plain / "train") == ["data/0.parquet", "meta/info.json"]
    export(experiment, "checkpoint-100", plain / "first")
    assert paths(plain / "first") == ["config.json", "model.safetensors"]
    assert "checkpoint of demo" in export(experiment, "checkpoint", plain / "last")
    export(experiment, "train", plain / "train")  # again: the folder holds no other files
    with pytest.raises(ConfigurationError, match="holds other files"):
        export(experiment, "test", plain / "first")
    with pytest.raises(
        ConfigurationError,
        match=r"'checkpoint-300' \(did you mean 'checkpoint-[12]00'\?\); "
        "it has checkpoint-100, checkpoint-200, test, train",
    ):
        export(experiment, "checkpoint-300", plain / "x")
    (experiment / "convert/c1/train/data/0.parquet").delete()
    with pytest.raises(DataError, match=r"train/data/0\.parquet is missing"):
        export(experiment, "train", plain / "again")


@pytest.mark.parametrize(("what", "file"), [("train", "data/0.parquet"), ("checkpoint-100", "model.safetensors")])
def test_nothing_damaged_is_exported(experiment: Location, tmp_path: Path, what: str, file: str) -> None:
    folder = experiment / ("convert/c1/train" if what == "train" else "finetune/f1/checkpoint-100")
    data = (folder / file).read_bytes()
    (folder / file).write_bytes(data[:-1] + b"!")
    with pytest.raises(DataError, match=f"{file} is damaged: its sha256 differs"):
        export(experiment, what, open_location(tmp_path / "plain"))
    assert paths(open_location(tmp_path / "plain")) == []
    (folder / file).write_bytes(data)
    export(experiment, what, open_location(tmp_path / "plain"))


def test_the_newest_of_several_is_exported(experiment: Location, tmp_path: Path) -> None:
    make(experiment, "convert", "c2", {"train/new": b"2"})
    (experiment / "current.json").write_json({"convert": {"folder": "convert/c2", "proof": "manifest.json"}})
    export(experiment, "train", open_location(tmp_path / "plain"))
    assert paths(open_location(tmp_path / "plain")) == ["new"]


def test_nothing_that_a_manifest_names_is_garbage(
    root: Location, experiment: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groot_ray.stages.garbage.UPLOAD_AGE", -10.0)
    monkeypatch.setattr("groot_ray.stages.garbage.UNFINISHED_AGE", -10.0)
    before = paths(experiment)
    make(experiment, "convert", "c1", {"train/x": b"anew"}, generation=2)
    assert collect_garbage(root, delete=True).startswith("nothing to remove"), "c1 is superseded, but f1 uses it"
    assert set(before) <= set(paths(experiment))


def test_what_nothing_names_is_removed_on_request(
    root: Location, experiment: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groot_ray.stages.garbage.UPLOAD_AGE", -10.0)
    monkeypatch.setattr("groot_ray.stages.garbage.UNFINISHED_AGE", -10.0)
    kept = set(paths(experiment))
    make(experiment, "convert", "c9", {"train/x": b"first"})
    newest = make(experiment, "convert", "c9", {"train/x": b"second"}, generation=2)
    (experiment / "convert/c3/train/half").write_bytes(b"abandoned")
    (experiment / "finetune/f1/checkpoint-150/model.safetensors").write_bytes(b"half of the weights")
    (experiment / "finetune/f1/recovery/step-160/trainable.safetensors").write_bytes(b"half")
    (experiment / "plan/old.parquet").write_bytes(b"of a plan that is gone")
    (root / ".groot-ray-check/dead/probe").write_bytes(b"")
    everything = set(paths(root))
    told = collect_garbage(root)
    assert set(paths(root)) == everything and "nothing was removed" in told
    for what in (
        "convert/c9 ",
        "superseded by c9.2",
        "convert/c3",
        "checkpoint-150",
        "step-160",
        "old.parquet",
        "dead/probe",
    ):
        assert what in told
    assert "removed 6 items" in collect_garbage(root, delete=True)
    assert set(paths(experiment)) == kept | {f"convert/{newest.name}/{path}" for path in paths(newest)}
    assert collect_garbage(root).startswith("nothing to remove")


def test_recent_and_running_results_are_kept(
    root: Location, experiment: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    (experiment / "convert/c3/train/half").write_bytes(b"just begun")
    (experiment / "finetune/f1/checkpoint-150/model.safetensors").write_bytes(b"being saved")
    assert collect_garbage(root).startswith("nothing to remove")
    monkeypatch.setattr("groot_ray.stages.garbage.UPLOAD_AGE", -10.0)
    monkeypatch.setattr("groot_ray.stages.garbage.UNFINISHED_AGE", -10.0)
    with claim_attempt(experiment / "convert/c3"), claim_attempt(experiment / "finetune/f1"):
        assert collect_garbage(root).startswith("nothing to remove")
    assert "checkpoint-150" in collect_garbage(root)
    found = list(find_garbage(root))
    before = {path for path in paths(experiment) if path.startswith(("convert/c3", "finetune/f1"))}
    with claim_attempt(experiment / "convert/c3"), claim_attempt(experiment / "finetune/f1"):
        for item in found:
            item.remove()
        assert before <= set(paths(experiment)), "attempts that began after the listing"


def superseded(experiment: Location) -> Location:
    """Folder of a run that a newer generation has superseded."""
    run = make(experiment, "finetune", "k1", {"checkpoint-10/config.json": b"{}"})
    make(experiment, "finetune", "k1", {"checkpoint-10/config.json": b"{}"}, generation=2)
    return run


def name_in_source_pin(experiment: Location, uri: str) -> None:
    (experiment / "plan/source-2.json").write_json({"kind": "files", "uri": uri, "listing": None})


def name_in_model_pin(experiment: Location, uri: str) -> None:
    (experiment / "plan/model-1.json").write_json(ModelPin(base=uri, content="abc").model_dump(mode="json"))


def name_in_options(experiment: Location, uri: str) -> None:
    make(experiment, "finetune", "n1", {"x": b""}, options={"model": result_options(ModelOptions(base=uri))})


def name_as_tokenizer(experiment: Location, uri: str) -> None:
    make(experiment, "finetune", "n1", {"x": b""}, options={"model": result_options(ModelOptions(tokenizer=uri))})


def name_in_a_run_without_a_manifest(experiment: Location, uri: str) -> None:
    identity = {"format": 1, "model": result_options(ModelOptions(tokenizer=uri))}
    (experiment / "finetune/n1/run.json").write_json(identity)


def name_in_the_document_of_an_earlier_stage(experiment: Location, uri: str) -> None:
    folder = make(experiment, "convert", "c1", {"train/x": b""})
    document = {"source": SourceOptions(uri="org/data").model_dump(), "model": ModelOptions(base=uri).model_dump()}
    (folder / "provenance.json").write_json({"attempt": 1, "experiment": document})


@pytest.mark.parametrize(
    "name_it",
    [
        name_in_source_pin,
        name_in_model_pin,
        name_in_options,
        name_as_tokenizer,
        name_in_a_run_without_a_manifest,
        name_in_the_document_of_an_earlier_stage,
    ],
)
@pytest.mark.parametrize("name", [None, "base"])
def test_what_another_experiment_names_is_kept(
    root: Location, name_it: Callable[[Location, str], None], name: str | None
) -> None:
    (root / "base/plan/source-1.json").write_json({"listing": None})
    (root / "next/plan/source-1.json").write_json({"listing": None})
    run = superseded(root / "base")
    assert "superseded by k1.2" in collect_garbage(root, name)
    name_it(root / "next", f"{run.uri}/checkpoint-10")
    everything = paths(root)
    assert collect_garbage(root, name, delete=True).startswith("nothing to remove")
    assert paths(root) == everything
    (root / "next").delete_tree()
    assert "removed 1 items" in collect_garbage(root, name, delete=True), "nothing names it anymore"
    assert not run.has_files()


def test_an_experiment_keeps_what_it_was_finetuned_from_itself(root: Location) -> None:
    (root / "base/plan/source-1.json").write_json({"listing": None})
    run = superseded(root / "base")
    name_in_model_pin(root / "base", f"{run.uri}/checkpoint-10")
    for location in (root, root / "base"):
        assert collect_garbage(location, delete=True).startswith("nothing to remove")


def test_a_checkpoint_without_a_manifest_is_kept_where_it_is_named(
    root: Location, experiment: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groot_ray.stages.garbage.UPLOAD_AGE", -10.0)
    for step in (150, 160):
        (experiment / f"finetune/f1/checkpoint-{step}/config.json").write_bytes(b"{}")
    name_in_model_pin(root / "next", f"{experiment.uri}/finetune/f1/checkpoint-150")
    told = collect_garbage(root, "demo")
    assert "checkpoint-160" in told and "checkpoint-150" not in told


def test_only_the_result_that_is_named_is_kept(root: Location) -> None:
    (root / "base/plan/source-1.json").write_json({"listing": None})
    run = superseded(root / "base")
    for uri in (f"{run.uri}.2/checkpoint-10", f"{run.uri}0", f"{root.uri}/other/finetune/k1", "nvidia/GR00T-N1.6-3B"):
        name_in_model_pin(root / "next", uri)
        assert "superseded by k1.2" in collect_garbage(root), uri


def test_s3_uris_are_compared_without_slashes_at_their_end(s3) -> None:
    root = s3.location
    (root / "base/plan/source-1.json").write_json({"listing": None})
    run = superseded(root / "base")
    for uri in (run.uri, f"{run.uri}/", f"{run.uri}//checkpoint-10/"):
        name_in_model_pin(root / "next", uri)
        assert collect_garbage(root, "base").startswith("nothing to remove"), uri


def test_paths_are_compared_however_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = open_location(tmp_path / "out put")
    (root / "base/plan/source-1.json").write_json({"listing": None})
    run = superseded(root / "base")
    (tmp_path / "mounted").symlink_to(tmp_path / "out put")
    for path in (
        f"{run.uri}/",
        (run.path / "checkpoint-10").as_uri(),
        f"{tmp_path}/mounted/base/finetune/k1/checkpoint-10",
        "./out put/base/finetune/k1/checkpoint-10",
        "../base/finetune/k1",
    ):
        name_in_model_pin(root / "next", path)
        assert collect_garbage(root, "base").startswith("nothing to remove"), path
    monkeypatch.chdir(root.path / "base")
    name_in_model_pin(root / "next", "finetune/k1/checkpoint-10")
    assert collect_garbage(root, "base").startswith("nothing to remove")


def test_a_mistyped_experiment_is_reported(root: Location, experiment: Location) -> None:
    with pytest.raises(ConfigurationError, match=r"no experiment 'dmo' in .*did you mean 'demo'.*; there are demo"):
        collect_garbage(root, "dmo", delete=True)
    assert collect_garbage(root, "demo").startswith("nothing to remove")


def test_interrupted_uploads_are_aborted(s3, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = s3.client.create_multipart_upload(Bucket=s3.name, Key="experiments/demo/big")
    s3.client.upload_part(
        Bucket=s3.name, Key="experiments/demo/big", UploadId=begun["UploadId"], PartNumber=1, Body=bytes(1000)
    )
    root = s3.location / "experiments/demo"
    if not list(root.store.unfinished_uploads(root.key)):
        pytest.skip(
            "this service lists unfinished uploads by complete key only (MinIO; it removes them itself after a day)"
        )
    monkeypatch.setattr("groot_ray.stages.garbage.UPLOAD_AGE", -10.0)
    assert "an interrupted upload" in collect_garbage(root, delete=True)
    assert list(root.store.unfinished_uploads(root.key)) == []


def test_files_of_interrupted_writes_are_removed(tmp_path: Path) -> None:
    left = tmp_path / "demo/convert/c1/.groot-ray-abc.partial"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    assert collect_garbage(open_location(tmp_path)).startswith("nothing to remove")
    os.utime(left, (1e9, 1e9))
    assert (
        "an interrupted write, last modified 2001-09-09" in collect_garbage(open_location(tmp_path)) and left.exists()
    )
    collect_garbage(open_location(tmp_path), delete=True)
    assert not left.exists()
