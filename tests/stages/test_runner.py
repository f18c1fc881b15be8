"""The runner skips finished stages, reruns changed ones, continues killed ones; two runs never mix."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from counting import Count, counting_document

from groot_ray.errors import ConfigurationError, DataError, PredecessorFailedError, TemporaryFailureError
from groot_ray.experiment.document import build_document
from groot_ray.stages import STAGES, run_all, run_stage, summary
from groot_ray.stages.base import Context, Made
from groot_ray.stages.state import inspect_stage
from groot_ray.storage import Location, open_location
from groot_ray.storage.lease import attempts, claim_attempt, last_attempt, request_stop
from groot_ray.storage.logs import read_log
from groot_ray.storage.manifest import read_files, read_manifest
from groot_ray.storage.status import read_status


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Count:
    """The counting stage, registered during the test."""
    counting = Count()
    monkeypatch.setitem(STAGES, "count", counting)
    return counting


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "out") if request.param == "local" else request.getfixturevalue("s3").uri


def start(
    aloha_dataset: Path, storage: str, tmp_path: Path, dies_at: str = "", pause: float = 0.0
) -> subprocess.Popen[str]:
    program = Path(__file__).with_name("counting.py")
    command = [sys.executable, str(program), str(aloha_dataset), storage, str(tmp_path / "cache"), dies_at, str(pause)]
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(root)})


def stage_folder(storage: str) -> Location:
    return next((open_location(storage) / "test/count").folders())


def test_finished_stages_are_skipped_and_changed_ones_rerun(
    stage: Count, aloha_dataset: Path, storage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    doc = counting_document(aloha_dataset, storage, tmp_path / "cache")
    first = run_stage(doc, "count")
    assert first.state == "done" and (first.folder / "made/4").read_text() == "4 of seed 1"
    manifest = read_manifest(first.folder)
    assert manifest == first.manifest and manifest.made == {"numbers": 5} and manifest.options == {"seed": 1}
    assert [record.path for record in read_files(first.folder)] == [
        f"made/{n}" for n in range(5)
    ] and manifest.files == 5
    assert (first.folder / "status.json").read_json()["done"] == 5
    assert "INFO groot_ray.stages" in b"".join(read_log(first.folder, "attempt-1", "driver")).decode()
    again = run_stage(doc, "count")
    assert again.state == "skipped" and f"already done (key {manifest.key}), skipped: {first.folder.uri}" in caplog.text
    other = run_stage(counting_document(aloha_dataset, storage, tmp_path / "cache", seed=2), "count")
    assert other.state == "done" and other.folder != first.folder and "because seed changed" in caplog.text
    assert run_stage(doc, "count").state == "skipped", "the first result still exists"


def test_operational_options_change_no_key(stage: Count, aloha_dataset: Path, tmp_path: Path) -> None:
    doc = counting_document(aloha_dataset, tmp_path / "out", tmp_path / "cache")
    first = run_stage(doc, "count")
    doc.experiment.training.num_workers = 3
    doc.experiment.storage.cache = str(tmp_path / "elsewhere")
    doc.experiment.storage.endpoint = "http://minio:9000"
    assert run_stage(doc, "count").folder == first.folder


def test_force_opens_a_generation_and_what_follows_follows(stage: Count, aloha_dataset: Path, tmp_path: Path) -> None:
    doc = counting_document(aloha_dataset, tmp_path / "out", tmp_path / "cache")
    first = run_stage(doc, "count")
    forced = run_stage(doc, "count", force=True)
    assert forced.state == "done" and forced.folder.name == f"{first.folder.name}.2" and forced.manifest.generation == 2
    assert run_stage(doc, "count").folder == forced.folder, "the newest generation counts"
    run_stage(doc, "download", force=True)
    following = run_stage(doc, "count")
    assert following.state == "done" and following.folder.name not in (first.folder.name, forced.folder.name)


def test_an_unfinished_forced_generation_is_continued(stage: Count, aloha_dataset: Path, tmp_path: Path) -> None:
    doc = counting_document(aloha_dataset, tmp_path / "out", tmp_path / "cache")
    run_stage(doc, "count")

    def fail(context: Context) -> Made:
        raise DataError("episode 3 is broken")

    stage.run, run = fail, stage.run  # type: ignore[method-assign]
    with pytest.raises(DataError):
        run_stage(doc, "count", force=True)
    stage.run = run  # type: ignore[method-assign]
    forced = run_stage(doc, "count", force=True)
    assert forced.folder.name.endswith(".2") and [state.code for state in attempts(forced.folder)] == [65, 0]


@pytest.mark.parametrize("place", ["half", "before the manifest", "after files.parquet"])
def test_a_killed_run_is_continued(stage: Count, aloha_dataset: Path, storage: str, tmp_path: Path, place: str) -> None:
    """A real process, killed by SIGKILL at critical points; the next run gives the result of an undisturbed one."""
    process = start(aloha_dataset, storage, tmp_path, dies_at=place)
    assert process.wait(60) == -signal.SIGKILL
    process.stdout.close()
    folder = stage_folder(storage)
    assert read_manifest(folder) is None and last_attempt(folder).code is None
    doc = counting_document(aloha_dataset, storage, tmp_path / "cache")
    view = inspect_stage(doc, "count")
    assert not view.done and view.ready and not last_attempt(view.folder).alive
    made = run_stage(doc, "count")
    assert made.state == "done" and made.folder == folder and last_attempt(folder).number == 2
    undisturbed = run_stage(counting_document(aloha_dataset, tmp_path / "other", tmp_path / "cache"), "count")
    assert read_files(folder) == read_files(undisturbed.folder) and made.manifest == undisturbed.manifest


def test_two_runs_at_once_never_mix(stage: Count, aloha_dataset: Path, storage: str, tmp_path: Path) -> None:
    """Two processes start the same stage: one works, the other waits and then finds it done."""
    processes = [start(aloha_dataset, storage, tmp_path, pause=0.3) for _ in range(2)]
    states = sorted(process.communicate(timeout=120)[0].strip() for process in processes)
    assert states == ["done", "skipped"]
    writers = {entry.relative.split("-")[1] for entry in (stage_folder(storage) / "writers").list()}
    assert len(writers) == 1


def test_sigterm_ends_an_attempt_so_that_the_next_begins_at_once(
    stage: Count, aloha_dataset: Path, tmp_path: Path
) -> None:
    process = start(aloha_dataset, str(tmp_path / "out"), tmp_path, pause=0.3)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out/test/count").glob("*/made/1")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    assert process.wait(30) == 1  # an uncaught error, since no console script is around it
    process.stdout.close()
    state = last_attempt(stage_folder(str(tmp_path / "out")))
    assert state.ended and state.code == TemporaryFailureError.exit_code and "SIGTERM" in state.sentence


def test_a_request_to_stop_is_heeded_at_the_next_commit(stage: Count, aloha_dataset: Path, tmp_path: Path) -> None:
    process = start(aloha_dataset, str(tmp_path / "out"), tmp_path, pause=0.3)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out/test/count").glob("*/made/1")) and time.monotonic() < deadline:
        time.sleep(0.05)
    folder = stage_folder(str(tmp_path / "out"))
    assert request_stop(folder)
    process.communicate(timeout=30)
    assert last_attempt(folder).code == 70 and (folder / "status.json").read_json()["state"] == "stopped"
    assert not (folder / "made/4").exists()


def test_a_failure_is_written_down(stage: Count, aloha_dataset: Path, tmp_path: Path) -> None:
    doc = counting_document(aloha_dataset, tmp_path / "out", tmp_path / "cache")

    def fail(context: Context) -> Made:
        raise DataError("episode 3 of s3://x is broken")

    stage.run = fail  # type: ignore[method-assign]
    with pytest.raises(DataError):
        run_stage(doc, "count")
    view = inspect_stage(doc, "count")
    last, status = last_attempt(view.folder), read_status(view.folder)
    assert (last.code, last.sentence) == (65, "episode 3 of s3://x is broken")
    assert (status["state"], status["sentence"]) == ("failed", "episode 3 of s3://x is broken")
    assert b"episode 3 of s3://x is broken" in b"".join(read_log(view.folder, "attempt-1", "driver"))


def test_a_result_that_another_attempt_committed_stands(stage: Count, aloha_dataset: Path, tmp_path: Path) -> None:
    """The holder slept through its lease: its successor has finished, and it stops before writing its manifest."""
    doc = counting_document(aloha_dataset, tmp_path / "out", tmp_path / "cache")
    run = stage.run

    def late(context: Context) -> Made:
        made = run(context)
        folder = context.attempt.folder
        (folder / f"attempts/{context.attempt.number + 1}.json").write_json({"number": 2, "owner": "successor"})
        return made

    stage.run = late  # type: ignore[method-assign]
    with pytest.raises(TemporaryFailureError, match="taken over"):
        run_stage(doc, "count")
    assert inspect_stage(doc, "count").done is False


def test_an_attempt_claimed_by_a_job_is_adopted(stage: Count, aloha_dataset: Path, tmp_path: Path) -> None:
    doc = counting_document(aloha_dataset, tmp_path / "out", tmp_path / "cache")
    run_stage(doc, "download")
    view = inspect_stage(doc, "count")
    job = claim_attempt(view.folder, about={"release": "demo"})
    assert job is not None
    with pytest.raises(TemporaryFailureError, match="is running"):
        run_stage(doc, "count", wait=False)
    made = run_stage(doc, "count", attempt=(job.number, job.ticket.owner))
    job.hand_over()
    assert made.state == "done" and len(attempts(view.folder)) == 1 and last_attempt(view.folder).code == 0


def test_a_stage_names_what_it_waits_for(aloha_dataset: Path, tmp_path: Path) -> None:
    doc = counting_document(aloha_dataset, tmp_path / "out", tmp_path / "cache")
    assert (inspect_stage(doc, "download").waits_for, inspect_stage(doc, "evaluate").waits_for) == (
        "download",
        "download",
    )
    assert not (tmp_path / "out").exists(), "inspecting pins nothing"
    with pytest.raises(PredecessorFailedError, match="finetune needs the result of convert"):
        run_stage(doc, "finetune")
    run_stage(doc, "download")
    assert (
        inspect_stage(doc, "download").done
        and inspect_stage(doc, "convert").ready
        and inspect_stage(doc, "finetune").waits_for == "convert"
    )


def test_unknown_stages_are_reported(aloha_dataset: Path, tmp_path: Path) -> None:
    doc = counting_document(aloha_dataset, tmp_path / "out", tmp_path / "cache")
    with pytest.raises(
        ConfigurationError,
        match="fine-tune is not a stage \\(did you mean 'finetune'\\?\\); the stages are download, convert",
    ):
        run_all(doc, only=["fine-tune"])


def test_run_all_runs_what_is_asked_for(stage: Count, aloha_dataset: Path, tmp_path: Path) -> None:
    doc = counting_document(aloha_dataset, tmp_path / "out", tmp_path / "cache")
    outcomes = run_all(doc, only=["count", "download"])
    assert [(outcome.stage, outcome.state) for outcome in outcomes] == [("download", "done"), ("count", "done")]
    assert summary(outcomes).splitlines()[1].startswith("count     counted to 5")


def test_inspecting_a_stage_loads_nothing_heavy(stage: Count, aloha_dataset: Path, tmp_path: Path) -> None:
    """A waiting Job needs little memory."""
    doc = counting_document(aloha_dataset, tmp_path / "out", tmp_path / "cache")
    run_stage(doc, "download")
    script = (
        "import sys\nfrom pathlib import Path\nsys.path.insert(0, sys.argv[1])\n"
        "from documents import document\nfrom groot_ray.stages.state import inspect_stage\n"
        "doc = document(sys.argv[2], sys.argv[3], Path(sys.argv[4]), training__seed=1)\n"
        "assert inspect_stage(doc, 'finetune').waits_for == 'convert'\n"
        "heavy = {'torch', 'ray', 'transformers', 'numpy', 'pyarrow', 'pandas', 'av', 'cv2'} & set(sys.modules)\n"
        "memory = [line for line in open('/proc/self/status') if line.startswith('VmRSS')][0].split()[1]\n"
        "print(sorted(heavy), int(memory) // 1024)\n"
    )
    arguments = [str(Path(__file__).parent), str(aloha_dataset), str(tmp_path / "out"), str(tmp_path / "cache")]
    root = Path(__file__).resolve().parents[2]
    answer = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=True,
    )
    heavy, memory = answer.stdout.strip().rsplit(" ", 1)
    assert heavy == "[]" and int(memory) < 80


def test_the_first_stage_of_a_release_reports_mistakes_of_later_ones(tmp_path: Path) -> None:
    given = {
        "name": "x",
        "source": {"uri": str(tmp_path)},
        "embodiment": "aloha",
        "storage": {"uri": str(tmp_path / "o")},
    }
    splits = {"splits": {"test": 1}, "evaluation": {"action_horizon": 40}}
    with pytest.raises(ConfigurationError, match="action_horizon 40 is more than the 16 steps"):
        run_stage(build_document({"experiment": {**given, **splits}, "cluster": {}}), "download")
    assert not (tmp_path / "o" / "x" / "download").exists()
