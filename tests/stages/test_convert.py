"""convert as a stage, on real episodes: its manifest, its files, and only changes that affect the result rerun it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from documents import document

from groot_ray.stages import run_stage
from groot_ray.stages.convert import conversion_files
from groot_ray.stages.registry import open_work
from groot_ray.storage.manifest import read_files


def test_the_manifest_vouches_for_every_file(converted: Path, recordings: Path) -> None:
    outcome = run_stage(document(recordings, converted / "out", converted / "cache"), "convert")
    assert outcome.state == "skipped"
    assert outcome.manifest.made["parts"] == {
        "train": {"episodes": 1, "frames": 160},
        "test": {"episodes": 1, "frames": 160},
    }
    assert outcome.manifest.made["episodes_in_no_part"] == [2, 3]
    folder = outcome.folder.path
    there = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for part in ("train", "test")
        for path in (folder / part).rglob("*")
        if path.is_file()
    }
    assert {file.path: file.sha256 for file in read_files(outcome.folder)} == there
    read, hashed = (conversion_files(outcome.folder, has_gaps=gaps) for gaps in (True, False))
    assert set(read) == set(hashed), "the ledger's hashes equal those of the files"


def test_only_what_changes_the_result_changes_the_key(converted: Path, recordings: Path) -> None:
    def key(**changes: object) -> str:
        return open_work(document(recordings, converted / "out", converted / "cache", **changes)).place("convert").key

    same = key()
    assert key(conversion__workers=7, training__max_steps=9, evaluation__steps=3, name="test") == same
    for change in (
        {"conversion__fps": 10},
        {"splits__test": 2},
        {"embodiment": "aloha"},
        {"embodiment_tag": "NEW_EMBODIMENT"},
        {"conversion__quality": 30},
        {"source__episodes": [0, 1]},
    ):
        assert key(**change) != same, change
    assert key(splits={"train": 1, "test": 1}, conversion__fps=20) == same, "an option explicitly set to its default"


def test_into_a_plain_folder_in_one_go(aloha_dataset: Path, tmp_path: Path) -> None:
    """`groot-ray convert --source X --output Y` needs no earlier stage and writes nothing elsewhere."""
    doc = document(aloha_dataset, tmp_path / "out", tmp_path / "cache", source__episodes=[2, 3])
    outcome = run_stage(doc, "convert", output=str(tmp_path / "plain"))
    assert (tmp_path / "plain/train/meta/info.json").is_file() and (tmp_path / "plain/test/meta/stats.json").is_file()
    assert outcome.manifest is None and not (tmp_path / "out").exists()
    stamp = (tmp_path / "plain/train/meta/info.json").stat().st_mtime_ns
    run_stage(doc, "convert", output=str(tmp_path / "plain"))
    assert (tmp_path / "plain/train/meta/info.json").stat().st_mtime_ns == stamp, "finished work is not repeated"
