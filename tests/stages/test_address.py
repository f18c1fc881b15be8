"""Experiments and datasets are found by name, path, URI and experiment file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from groot_ray.cli.main import main
from groot_ray.errors import ConfigurationError
from groot_ray.stages.address import find_datasets, find_experiment, find_folder
from groot_ray.storage import open_location
from groot_ray.storage.manifest import Manifest, commit_manifest, record_files, write_files


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a storage `outputs`, which holds the experiment `demo` with one conversion."""
    root = open_location(tmp_path / "outputs")
    (root / "demo/plan/source-1.json").write_json({})
    folder = root / "demo/convert/c1"
    for part in ("train", "test"):
        (folder / part / "meta/info.json").write_json({})
    write_files(folder, record_files(folder, ["train/meta/info.json", "test/meta/info.json"]))
    commit_manifest(folder, Manifest(stage="convert", key="c1", version="0"))
    (tmp_path / "demo.yaml").write_text("experiment: {name: demo, source: {uri: .}, embodiment: aloha}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> int:
    """Exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)


@pytest.mark.parametrize("target", ["demo", "./outputs/demo", "outputs/demo/", "demo.yaml", "absolute", "uri"])
def test_an_experiment_has_many_addresses(work: Path, target: str) -> None:
    given = {"absolute": str(work / "outputs/demo"), "uri": (work / "outputs/demo").as_uri()}.get(target, target)
    folder = open_location(work / "outputs/demo")
    assert find_experiment(given) == folder
    assert find_datasets(given) == [folder / "convert/c1/train", folder / "convert/c1/test"]


def test_an_experiment_in_s3(s3) -> None:
    (s3.location / "runs/demo/plan/source-1.json").write_json({})
    assert find_experiment(f"{s3.uri}/runs/demo") == s3.location / "runs/demo"
    assert find_experiment("demo", f"{s3.uri}/runs") == s3.location / "runs/demo"


def test_a_name_goes_before_a_folder_of_the_working_directory(work: Path) -> None:
    (work / "demo").mkdir()
    assert find_folder("demo") == open_location(work / "outputs/demo")
    (work / "elsewhere").mkdir()
    assert find_folder("elsewhere") == open_location(work / "elsewhere")


def test_a_dataset_is_found_as_it_is(work: Path) -> None:
    part = "outputs/demo/convert/c1/test"
    assert find_datasets(part) == [open_location(work / part)]
    assert len(find_datasets("outputs/demo/convert/c1")) == 2


def test_mistakes_list_what_exists(work: Path) -> None:
    for target in ("dmo", "./outputs/dmo"):
        with pytest.raises(ConfigurationError, match=r"no experiment 'dmo' in .*outputs \(did you mean 'demo'\?\)"):
            find_experiment(target)
    with pytest.raises(ConfigurationError, match="outputs holds the experiments demo; name one of them"):
        find_experiment("./outputs")
    with pytest.raises(ConfigurationError, match="'none.yaml' does not exist"):
        find_experiment("none.yaml")
    open_location(work / "outputs/new/plan/source-1.json").write_json({})
    with pytest.raises(ConfigurationError, match="has no finished convert stage"):
        find_datasets("new")


@pytest.mark.parametrize("target", ["demo", "./outputs/demo", "demo.yaml"])
@pytest.mark.parametrize("command", ["ls", "show", "gc", "status"])
def test_every_storage_command_takes_every_address(
    work: Path, command: str, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, target) == 0
    printed = capsys.readouterr().out
    assert "demo" in printed and ("demo/convert/c1" in printed) == (command == "show")


@pytest.mark.parametrize("words", [["ls"], ["ls", "outputs"], ["ls", "./outputs"], ["ls", "--storage", "outputs"]])
def test_a_storage_is_listed(work: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[0] == "demo"


def test_a_whole_storage_is_cleaned(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = work / "outputs/demo/convert/c1/.groot-ray-abc.partial"
    left.write_bytes(b"half")
    os.utime(left, (1e9, 1e9))
    assert run("gc", "./outputs", "--delete") == 0
    assert "removed 1 items" in capsys.readouterr().out and not left.exists()


@pytest.mark.parametrize("target", ["demo", "./outputs/demo", "demo.yaml"])
def test_a_part_is_exported(work: Path, target: str) -> None:
    assert run("export", target, "train", "copy") == 0
    assert (work / "copy/meta/info.json").is_file()


@pytest.mark.parametrize("target", ["demo", "./outputs/demo", "./outputs/demo/convert/c1/train"])
def test_datasets_are_validated_by_every_address(work: Path, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("validate", target) == 65, "info.json is empty here"
    assert "problem(s), listed above" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["demo", "./outputs/demo", "demo.yaml"])
def test_logs_and_stop_take_every_address(work: Path, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    pieces = open_location(work / "outputs/demo/convert/c1")
    (pieces / "attempts/1.json").write_json({"number": 1, "owner": "x", "holder": {}})
    (pieces / "attempts/1.end.json").write_json({"code": 0, "sentence": "done"})
    (pieces / "logs/attempt-1/driver.000000.log").write_text("converted all episodes\n")
    assert run("logs", target) == 0 and "converted all episodes" in capsys.readouterr().out
    assert run("stop", target) == 0 and "nothing is running" in capsys.readouterr().out
    assert run("logs", target, "--stage", "roll-out") == 64
    assert "roll-out is not a stage" in capsys.readouterr().err
