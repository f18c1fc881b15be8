"""Damaged files of a committed result are found by hash: in place, while they are copied, and in the node's copy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from groot_ray.storage import Location, mirror, open_location
from groot_ray.storage.inventory import expected_files
from groot_ray.storage.manifest import Manifest, commit_manifest, record_files, write_files
from groot_ray.storage.verify import DamagedFilesError, find_damages

PATHS = ("data/episode_0.parquet", "videos/episode_0.mp4", "meta/stats.json", "meta/modality.json", "meta/info.json")


def commit(result: Location) -> Location:
    """A committed result with one part; returns the part."""
    part = result / "train"
    for path in PATHS:
        (part / path).write_bytes(path.encode() * 1000)
    files = record_files(result, [f"train/{path}" for path in PATHS])
    commit_manifest(result, Manifest(stage="convert", key="k", version="1", files_hash=write_files(result, files)))
    return part


def flip(location: Location) -> None:
    data = bytearray(location.read_bytes())
    data[len(data) // 2] ^= 1
    location.write_bytes(bytes(data))


def verified(part: Location, cache: Path) -> Path:
    return mirror(part, cache, expected=expected_files(part))


@pytest.fixture
def part(tmp_path: Path) -> Location:
    return commit(open_location(tmp_path / "convert" / "k"))


@pytest.mark.parametrize("path", PATHS)
def test_a_flipped_byte_is_found(part: Location, tmp_path: Path, path: str) -> None:
    verified(part, tmp_path / "cache")
    flip(part / path)
    expected = expected_files(part)
    assert expected is not None
    assert [(d.path, d.kind) for d in find_damages(part, expected.files)] == [(path, "bytes")]
    with pytest.raises(DamagedFilesError, match=f"{path} is damaged") as error:
        verified(part, tmp_path / "cache")
    assert error.value.exit_code == 65


def test_missing_truncated_and_extra_files_are_found(part: Location) -> None:
    (part / PATHS[0]).delete()
    (part / PATHS[1]).write_bytes(b"short")
    (part / "data/extra.parquet").write_bytes(b"more")
    expected = expected_files(part)
    assert expected is not None
    found = {damage.path: damage.kind for damage in find_damages(part, expected.files)}
    assert found == {PATHS[0]: "missing", PATHS[1]: "size", "data/extra.parquet": "extra"}


def test_a_write_that_restores_the_time_is_found(part: Location, tmp_path: Path) -> None:
    verified(part, tmp_path / "cache")
    path = (part / PATHS[0]).path
    before = path.stat()
    with path.open("r+b") as stream:
        stream.write(b"X")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DamagedFilesError):
        verified(part, tmp_path / "cache")


def test_a_damaged_list_of_files_is_found(part: Location) -> None:
    flip(part.parent / "files.parquet")
    with pytest.raises(DamagedFilesError, match=r"files\.parquet is damaged"):
        expected_files(part)


def test_a_folder_without_a_result_expects_nothing(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"a": 1}')
    assert expected_files(open_location(tmp_path / "train")) is None


@pytest.mark.parametrize("path", PATHS)
def test_a_damaged_object_is_never_copied(s3, tmp_path: Path, path: str) -> None:
    part = commit(s3.location / "convert" / "k")
    flip(part / path)
    with pytest.raises(DamagedFilesError, match=f"{path} is damaged"):
        verified(part, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob(Path(path).name))


def test_damage_of_the_copy_on_the_node_is_repaired(s3, tmp_path: Path) -> None:
    part = commit(s3.location / "convert" / "k")
    folder = verified(part, tmp_path / "cache")
    flip(open_location(folder / PATHS[0]))
    assert verified(part, tmp_path / "cache") == folder
    assert (folder / PATHS[0]).read_bytes() == (part / PATHS[0]).read_bytes()


def test_objects_that_are_missing_truncated_or_extra_are_found(s3, tmp_path: Path) -> None:
    part = commit(s3.location / "convert" / "k")
    (part / PATHS[0]).delete()
    (part / PATHS[1]).write_bytes(b"short")
    (part / "data/extra.parquet").write_bytes(b"more")
    with pytest.raises(DamagedFilesError) as error:
        verified(part, tmp_path / "cache")
    assert {damage.kind for damage in error.value.damages} == {"missing", "size", "extra"}
    assert not (tmp_path / "cache" / "mirrors").exists() or not list((tmp_path / "cache").rglob("*.json"))


def test_training_rejects_damaged_data_before_it_loads_a_model(part: Location, tmp_path: Path) -> None:
    import torch

    from groot_ray.experiment.schema import ModelOptions, TrainingOptions
    from groot_ray.train.plan import FinetunePlan
    from groot_ray.train.start.parts import put_together

    flip(part / PATHS[0])
    nowhere = ModelOptions(base=str(tmp_path / "no-model"))
    plan = FinetunePlan(
        part, open_location(tmp_path / "run"), nowhere, TrainingOptions(), cache=str(tmp_path / "cache")
    )
    with pytest.raises(DamagedFilesError, match=PATHS[0]):
        put_together(plan, torch.device("cpu"))


def test_evaluation_rejects_damaged_data_before_it_loads_a_model(part: Location, tmp_path: Path) -> None:
    from groot_ray.evaluate.run import Run, run_policy
    from groot_ray.experiment.schema import EvaluationOptions

    flip(part / PATHS[1])
    run = Run(open_location(tmp_path / "no-model"), part, EvaluationOptions(), None, str(tmp_path / "cache"))
    with pytest.raises(DamagedFilesError, match=PATHS[1]):
        run_policy(run)


def test_validate_names_each_file(part: Location, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from groot_ray.cli.validate import command
    from groot_ray.errors import DataError

    flip(part / PATHS[0])
    (part / PATHS[1]).delete()
    with pytest.raises(DataError, match=r"2 damaged, missing or extra file"):
        command(str(part.path), False, str(tmp_path), None, str(tmp_path / "cache"))
    out = capsys.readouterr().out
    assert f"{PATHS[0]} is damaged" in out and f"{PATHS[1]} is missing" in out
