"""`--repair` rebuilds damaged files of a finished result bit by bit, or changes nothing and says why."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from documents import document

from groot_ray.cli.documents import run_or_repair
from groot_ray.errors import ConfigurationError, DataError
from groot_ray.experiment.document import Document
from groot_ray.stages import run_stage
from groot_ray.stages.registry import open_work
from groot_ray.stages.repair import repair_stage
from groot_ray.storage import Location, upload_tree
from groot_ray.storage.lease import attempts, claim_attempt
from groot_ray.storage.verify import DamagedFilesError

PARQUET = "train/data/chunk-000/episode_000000.parquet"
STATS = "train/meta/stats.json"
MODALITY = "test/meta/modality.json"


def flip(location: Location) -> None:
    data = bytearray(location.read_bytes())
    data[len(data) // 2] ^= 1
    location.write_bytes(bytes(data))


def contents(result: Location) -> dict[str, str]:
    """Hash of every file of a result but its attempts, by path."""
    return {
        entry.relative: hashlib.sha256(entry.location.read_bytes()).hexdigest()
        for entry in result.list()
        if not entry.relative.startswith("attempts/")
    }


def found(document: Document, stage: str = "convert") -> dict[str, str]:
    return {damage.path: damage.kind for damage in repair_stage(document, stage)}


@pytest.fixture
def doc(converted: Path, recordings: Path, tmp_path: Path) -> Document:
    """The experiment of `converted`, in a copy of its storage."""
    shutil.copytree(converted / "out", tmp_path / "out")
    return document(recordings, tmp_path / "out", tmp_path / "cache")


@pytest.fixture
def result(doc: Document) -> Location:
    return open_work(doc).place("convert").folder


@pytest.fixture
def changeable(recordings: Path) -> Iterator[Path]:
    """The recordings, restored afterwards."""
    kept = recordings.with_name("kept")
    shutil.copytree(recordings, kept)
    yield recordings
    shutil.rmtree(recordings)
    kept.rename(recordings)


def video(result: Location, part: str = "test") -> str:
    return next(entry.relative for entry in result.list() if entry.relative.startswith(f"{part}/videos/"))


def test_each_kind_of_file_is_rebuilt_bit_by_bit(doc: Document, result: Location) -> None:
    before = contents(result)
    flip(result / PARQUET)
    flip(result / video(result))
    flip(result / STATS)
    (result / "train/meta/relative_stats.json").write_bytes(b"")
    (result / MODALITY).delete()
    (result / "train/data/chunk-000/episode_000007.parquet").write_bytes(b"foreign")
    assert found(doc) == {
        PARQUET: "bytes",
        video(result): "bytes",
        STATS: "bytes",
        "train/meta/relative_stats.json": "size",
        MODALITY: "missing",
        "train/data/chunk-000/episode_000007.parquet": "extra",
    }
    assert contents(result) == before
    assert [state.code for state in attempts(result)][-1] == 0
    assert run_stage(doc, "convert").state == "skipped"


@pytest.mark.parametrize("path", [PARQUET, STATS, MODALITY])
def test_one_flipped_byte(doc: Document, result: Location, path: str) -> None:
    before = contents(result)
    flip(result / path)
    assert found(doc) == {path: "bytes"}
    assert contents(result) == before


def test_nothing_damaged_is_one_sentence(doc: Document, result: Location, caplog: pytest.LogCaptureFixture) -> None:
    before = contents(result)
    caplog.set_level("INFO", "groot_ray")
    run_or_repair(doc, "convert", force=False, output=None, repair=True)
    assert "nothing is damaged" in caplog.text and "WARNING" not in caplog.text
    assert contents(result) == before


def test_a_changed_source_is_refused_and_nothing_changes(doc: Document, result: Location, changeable: Path) -> None:
    video_of_source = sorted((changeable / "videos").rglob("episode_000000.mp4"))[0]
    other = video_of_source.with_name("episode_000003.mp4")
    shutil.copy(other, video_of_source)
    flip(result / video(result, "train"))
    flip(result / MODALITY)
    (result / "train/extra.txt").write_text("foreign")
    before = contents(result)
    with pytest.raises(DataError, match=r"cannot be repaired: .*train/videos.*nothing was changed; .*--force") as error:
        repair_stage(doc, "convert")
    assert error.value.exit_code == 65 and "\n" not in str(error.value)
    assert contents(result) == before
    assert [state.code for state in attempts(result)][-1] == 65
    assert run_stage(doc, "convert").state == "skipped", "the result is still the result"


@pytest.mark.parametrize("change", ["gone", "tasks", "truncated"])
def test_a_broken_source_is_refused_in_one_sentence(
    doc: Document, result: Location, changeable: Path, change: str
) -> None:
    if change == "gone":
        shutil.rmtree(changeable / "data")
    elif change == "tasks":
        tasks = changeable / "meta/tasks.jsonl"
        tasks.write_text(tasks.read_text().replace("cube", "ball"))
    else:
        file = sorted((changeable / "data").rglob("episode_000000.parquet"))[0]
        file.write_bytes(file.read_bytes()[:-100])
    flip(result / PARQUET)
    before = contents(result)
    with pytest.raises(DataError, match=r"cannot be repaired: .*nothing was changed") as error:
        repair_stage(doc, "convert")
    assert "\n" not in str(error.value)
    assert contents(result) == before


def test_the_plan_is_measured_again_if_it_is_damaged(doc: Document, result: Location) -> None:
    before = contents(result)
    for damaged in (b"{", (result / "conversion/plan.json").read_bytes().replace(b"train", b"trbin")):
        (result / "conversion/plan.json").write_bytes(damaged)
        flip(result / PARQUET)
        assert found(doc) == {PARQUET: "bytes"}
        assert (result / PARQUET).exists() and contents(result) == {
            **before,
            "conversion/plan.json": hashlib.sha256(damaged).hexdigest(),
        }


def test_a_damaged_list_of_files_is_rebuilt_from_the_ledger(doc: Document, result: Location) -> None:
    before = contents(result)
    flip(result / "files.parquet")
    flip(result / PARQUET)
    assert found(doc) == {PARQUET: "bytes", "files.parquet": "bytes"}
    assert contents(result) == before
    (result / "files.parquet").delete()
    flip(result / STATS)
    with pytest.raises(DataError, match=r"files.parquet is missing or damaged, and so are other files.*--force"):
        repair_stage(doc, "convert")
    assert set(before) - set(contents(result)) == {"files.parquet"}


def test_it_waits_for_a_running_attempt(doc: Document, result: Location) -> None:
    import threading

    flip(result / MODALITY)
    running = claim_attempt(result)
    assert running is not None
    with running:
        thread = threading.Thread(target=repair_stage, args=(doc, "convert"))
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
    thread.join(30)
    assert not thread.is_alive() and found(doc) == {}


def test_the_error_of_damaged_data_names_the_command(doc: Document, result: Location) -> None:
    from groot_ray.storage.inventory import expected_files
    from groot_ray.storage.verify import check_files

    flip(result / PARQUET)
    expected = expected_files(result / "train")
    assert expected is not None
    with pytest.raises(DamagedFilesError, match="run `groot-ray convert --repair`"):
        check_files(result / "train", expected)


def test_what_cannot_be_repaired_says_so(doc: Document, recordings: Path, tmp_path: Path) -> None:
    unfinished = document(recordings, tmp_path / "out", tmp_path / "cache", conversion__fps=10)
    with pytest.raises(ConfigurationError, match="no finished result of convert"):
        repair_stage(unfinished, "convert")
    with pytest.raises(ConfigurationError, match="no finished result of download"):
        repair_stage(document(recordings, tmp_path / "empty", tmp_path / "cache"), "download")
    for given in ({"force": True, "output": None}, {"force": False, "output": str(tmp_path / "plain")}):
        with pytest.raises(ConfigurationError, match="--force"):
            run_or_repair(doc, "convert", repair=True, **given)


def test_in_s3(s3, converted: Path, recordings: Path, tmp_path: Path) -> None:
    upload_tree(converted / "out", s3.location)
    doc = document(recordings, s3.uri, tmp_path / "cache")
    result = open_work(doc).place("convert").folder
    before = contents(result)
    flip(result / video(result))
    flip(result / "train/meta/stats.json")
    (result / PARQUET).delete()
    (result / "test/extra.txt").write_text("foreign")
    assert sorted(found(doc).values()) == ["bytes", "bytes", "extra", "missing"]
    assert contents(result) == before


def test_a_copied_source(s3, changeable: Path, tmp_path: Path) -> None:
    doc = document(changeable, s3.uri, tmp_path / "cache")
    copy = run_stage(doc, "download").folder
    before = contents(copy)
    path = "dataset/data/chunk-000/episode_000001.parquet"
    flip(copy / path)
    (copy / "dataset/meta/info.json").delete()
    assert found(doc, "download") == {path: "bytes", "dataset/meta/info.json": "missing"}
    assert contents(copy) == before and found(doc, "download") == {}
    source = changeable / "data/chunk-000/episode_000001.parquet"
    flip(copy / path)
    source.write_bytes(source.read_bytes()[:-1])
    with pytest.raises(DataError, match=f"{path}.*nothing was changed"):
        repair_stage(doc, "download")
    source.unlink()
    with pytest.raises(DataError, match=r"has no file.*nothing was changed"):
        repair_stage(doc, "download")
