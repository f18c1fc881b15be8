"""The source is pinned once and copied if needed, and later changes to it are detected."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from documents import document

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.stages import run_stage
from groot_ray.stages.download import check_unchanged, dataset_location
from groot_ray.stages.registry import open_work
from groot_ray.storage.lease import attempts
from groot_ray.storage.manifest import read_files


@pytest.fixture
def source(aloha_dataset: Path, tmp_path: Path) -> Path:
    """A modifiable copy of the real episodes."""
    return Path(shutil.copytree(aloha_dataset, tmp_path / "source"))


def test_a_local_source_is_pinned_and_stays_where_it_is(source: Path, tmp_path: Path) -> None:
    doc = document(source, tmp_path / "out", tmp_path / "cache")
    made = run_stage(doc, "download")
    assert made.state == "done" and not (made.folder / "dataset").has_files()
    assert made.manifest.made == {
        "copied": False,
        "version": "v2.1",
        "fps": 50.0,
        "episodes": {"train": 1, "test": 1},
        "unused_episodes": 2,
    }
    assert dataset_location(open_work(doc)).path == source
    again = run_stage(doc, "download")
    assert again.state == "skipped" and again.folder == made.folder and "already done" in again.sentence
    assert [state.code for state in attempts(made.folder)] == [0]
    assert (made.folder / "status.json").read_json()["state"] == "done"
    assert (made.folder / "provenance.json").read_json()["source"] == str(source)
    assert [path.name for path in (tmp_path / "out/test/plan").iterdir() if path.suffix == ".json"] == [
        f"{name}.json" for name in {path.stem for path in (tmp_path / "out/test/plan").glob("source-*.json")}
    ]


def test_a_local_source_is_copied_into_remote_storage(s3, source: Path, tmp_path: Path) -> None:
    doc = document(source, s3.uri, tmp_path / "cache")
    made = run_stage(doc, "download")
    files = {str(path.relative_to(source)): path.read_bytes() for path in source.rglob("*") if path.is_file()}
    copied = {entry.relative: entry.location.read_bytes() for entry in (made.folder / "dataset").list()}
    assert copied == files and dataset_location(open_work(doc)) == made.folder / "dataset"
    assert [record.path for record in read_files(made.folder)] == sorted(f"dataset/{name}" for name in files)
    (made.folder / "manifest.json").delete()  # as if killed just before writing it
    (made.folder / "dataset/meta/info.json").delete()
    again = run_stage(doc, "download")
    assert (
        again.state == "done" and again.manifest == made.manifest and (made.folder / "dataset/meta/info.json").exists()
    )


def test_a_source_in_s3_is_pinned_by_the_bytes_of_its_files(s3, source: Path, tmp_path: Path) -> None:
    from groot_ray.storage import upload_tree

    upload_tree(source, s3.location / "robots/aloha")
    in_s3 = document(f"{s3.uri}/robots/aloha", s3.uri, tmp_path / "cache")
    local = document(source, tmp_path / "out", tmp_path / "cache")
    remote, here = run_stage(in_s3, "download"), run_stage(local, "download")
    assert remote.manifest.key == here.manifest.key, "the same episodes, wherever they are stored"
    assert dataset_location(open_work(in_s3)) == s3.location / "robots/aloha"


def test_a_changed_source_makes_a_new_plan_when_it_is_pinned_again(source: Path, tmp_path: Path) -> None:
    doc = document(source, tmp_path / "out", tmp_path / "cache")
    first = run_stage(doc, "download")
    info = source / "meta/tasks.jsonl"
    info.write_text(info.read_text().replace("Pick", "Take").replace("pick", "take"))
    assert open_work(doc).place("download").folder == first.folder, "later stages continue with the pin"
    with pytest.raises(DataError, match=r"meta/tasks\.jsonl was changed since the source was pinned"):
        check_unchanged(open_work(doc), dataset_location(open_work(doc)))
    second = run_stage(doc, "download")
    assert second.state == "done" and second.folder != first.folder
    assert open_work(doc).place("download").folder == second.folder
    check_unchanged(open_work(doc), dataset_location(open_work(doc)))
    plans = sorted(path.name for path in (tmp_path / "out/test/plan").glob("source-*.json"))
    assert len(plans) == 2 and plans[0].endswith(".2.json")


def test_a_touched_file_is_read_again_and_found_unchanged(source: Path, tmp_path: Path) -> None:
    doc = document(source, tmp_path / "out", tmp_path / "cache")
    first = run_stage(doc, "download")
    (source / "meta/info.json").touch()
    check_unchanged(open_work(doc), dataset_location(open_work(doc)))
    assert run_stage(doc, "download").folder == first.folder


def test_a_file_that_was_removed_is_named(source: Path, tmp_path: Path) -> None:
    doc = document(source, tmp_path / "out", tmp_path / "cache", splits={"train": 3, "test": 1})
    run_stage(doc, "download")
    gone = next(source.glob("videos/*/*/episode_000002.mp4"))
    gone.unlink()
    with pytest.raises(DataError, match=r"episode_000002\.mp4 was removed"):
        check_unchanged(open_work(doc), dataset_location(open_work(doc)))


def test_other_episodes_give_another_source_pin(source: Path, tmp_path: Path) -> None:
    every = run_stage(document(source, tmp_path / "out", tmp_path / "cache"), "download")
    some = run_stage(document(source, tmp_path / "out", tmp_path / "cache", source__episodes=[0, 2]), "download")
    assert some.manifest.key != every.manifest.key and some.manifest.made["unused_episodes"] == 0
    with pytest.raises(DataError, match="no episode 9"):
        run_stage(document(source, tmp_path / "out", tmp_path / "cache", source__episodes=[9]), "download")


def test_mistakes_are_reported_before_any_work(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for changes, word in (
        ({"source__uri": str(tmp_path / "nowhere")}, "source folder .* does not exist"),
        ({"source__revision": "v2.1"}, "source.revision is for datasets of the hub"),
        ({"splits__train": 9}, "splits ask for"),
        ({"source__uri": "hf://name-alone"}, "not a hub repository"),
        ({"source__episodes": []}, "source.episodes.: list should have at least 1 item"),
    ):
        with pytest.raises(ConfigurationError, match=word):
            run_stage(document(source, tmp_path / "out", tmp_path / "cache", **changes), "download")
    assert list((tmp_path / "out").rglob("attempts")) == []


def test_a_plain_folder_receives_the_files(source: Path, tmp_path: Path) -> None:
    doc = document(source, tmp_path / "out", tmp_path / "cache", source__episodes=[1])
    run_stage(doc, "download", output=str(tmp_path / "plain"))
    names = {str(path.relative_to(tmp_path / "plain")) for path in (tmp_path / "plain").rglob("*") if path.is_file()}
    assert {"meta/info.json", "data/chunk-000/episode_000001.parquet"} <= names
    assert not any("episode_000000" in name for name in names) and not (tmp_path / "out").exists()
