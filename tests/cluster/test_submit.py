"""`submit`, `status`, `logs` and `stop` against Ray's job API over HTTP, which runs what is submitted as a process."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from job_api import TOKEN, JobApi, RayJob, job_api, seen_by_process

from groot_ray.cluster.doctor.checks import check as examine
from groot_ray.cluster.ray import log as ray_log
from groot_ray.cluster.ray.jobs import RayJobs
from groot_ray.cluster.submit import follow as follow_module
from groot_ray.cluster.submit import send as send_module
from groot_ray.cluster.submit.bar import Bar
from groot_ray.cluster.submit.follow import follow_submission
from groot_ray.cluster.submit.logs import logs
from groot_ray.cluster.submit.send import submit
from groot_ray.cluster.submit.status import status
from groot_ray.cluster.submit.stop import stop
from groot_ray.cluster.submit.submissions import Submission, record, submissions
from groot_ray.errors import ConfigurationError, GrootRayError, ServiceUnavailableError, TemporaryFailureError
from groot_ray.experiment.document import load_document
from groot_ray.experiment.stages import unknown_stage
from groot_ray.stages.place import experiment_location
from groot_ray.storage.lease import adopt_attempt, claim_attempt
from groot_ray.storage.location import Location, open_location
from groot_ray.storage.status import STATUS


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobApi]:
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    with job_api(JobApi()) as api:
        yield api


def experiment(folder: Path, source: Path | str = "s3://bucket/recordings", storage: str = "", **more: Any) -> Path:
    """An experiment file in its own folder, with the storage beside it."""
    path = folder / "own" / "experiment.json"
    path.parent.mkdir(exist_ok=True)
    content = {
        "name": "walk",
        "storage": {"uri": storage or str(folder / "storage")},
        "source": {"uri": str(source)},
        "embodiment": "aloha_gr1",
    }
    path.write_text(json.dumps({"experiment": content | more}))
    return path


def test_an_experiment_is_sent_run_and_shown(
    api: JobApi, aloha_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.folder = tmp_path
    path = experiment(tmp_path, aloha_dataset)
    name = submit(path, api.url, stages=["download"], env=["ODD=a$HOME${B}"])
    out = capsys.readouterr().out
    assert out.startswith(f"submitted {name} (") and f"{name} is done" in out and "download" in out
    runtime = api.jobs[name].body["runtime_env"]
    assert seen_by_process(api.jobs[name].body)["ODD"] == "a$HOME${B}"
    assert runtime["working_dir"].removeprefix("gcs://") in api.packages
    assert "download   done (attempt 1)" in status(str(path))
    assert f"submitted  {name} at" in status(str(path)) and "SUCCEEDED" in status(str(path))
    assert "making" in "".join(logs(str(path)))
    api.jobs.clear()
    assert "its Ray head was replaced" in status(str(path))
    api.away = True
    assert "cannot be reached from here" in status(str(path))


def test_a_lost_answer_starts_nothing_twice(api: JobApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api.lose = 1
    name = submit(experiment(tmp_path), api.url, follow=False)
    assert list(api.jobs) == [name] and capsys.readouterr().out.startswith(f"submitted {name}")
    assert api.asked.count("POST /api/jobs/") == 2


def test_a_submission_without_an_answer_is_named(api: JobApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send_module, "SUBMITTING", 0.0)
    api.lose = 1
    with pytest.raises(ServiceUnavailableError, match="if Ray took the submission nevertheless, it is walk-"):
        submit(experiment(tmp_path), api.url, follow=False)


def test_storage_that_only_the_cluster_reaches(
    api: JobApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = experiment(tmp_path, storage="s3://bucket/experiments")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    name = submit(path, api.url, follow=False)
    assert name in api.jobs and "will not find this submission from here" in caplog.text
    caplog.clear()
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert submit(path, api.url, follow=False) in api.jobs
    assert "this machine has no credentials for object storage" in caplog.text


def test_nothing_is_sent_if_storage_refuses(
    api: JobApi, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in s3.server.environment.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match="there is no bucket 'not-there'"):
        submit(experiment(tmp_path, storage="s3://not-there/experiments"), api.url)
    assert not api.asked
    name = submit(experiment(tmp_path, storage=f"s3://{s3.name}/experiments"), api.url, follow=False)
    root = experiment_location(load_document(tmp_path / "own" / "experiment.json").experiment)
    assert [sent.id for sent in submissions(root)] == [name]


def test_training_in_process_is_not_sent(api: JobApi, tmp_path: Path) -> None:
    path = experiment(tmp_path, training={"num_workers": 0})
    with pytest.raises(ConfigurationError, match="num_workers: 0 trains inside"):
        submit(path, api.url)
    with pytest.raises(ConfigurationError, match="download"):
        submit(path, api.url, stages=["downlaod"])
    assert not api.jobs
    submit(path, api.url, stages=["download", "convert"], follow=False)


# --- following ---


@pytest.fixture
def sent(api: JobApi) -> RayJob:
    """A running submission named one."""
    api.jobs["one"] = RayJob({}, log="begun\n")
    return api.jobs["one"]


class Following:
    """`follow_submission` in a thread."""

    def __init__(self, api: JobApi) -> None:
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self.run, args=(RayJobs(api.url, TOKEN),), daemon=True)
        self.thread.start()

    def run(self, jobs: RayJobs) -> None:
        try:
            follow_submission(jobs, "one", None)
        except BaseException as error:
            self.error = error

    def end(self) -> BaseException | None:
        self.thread.join(30)
        assert not self.thread.is_alive()
        return self.error


def wait_for(text: str, capsys: pytest.CaptureFixture[str], seen: str = "") -> str:
    """Wait until `text` was printed; returns everything printed."""
    end = time.monotonic() + 30
    while text not in seen and time.monotonic() < end:
        time.sleep(0.05)
        seen += capsys.readouterr().out
    assert text in seen
    return seen


def test_a_lost_connection_is_survived(
    api: JobApi, sent: RayJob, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    following = Following(api)
    seen = wait_for("begun\n", capsys)
    api.away = True
    end = time.monotonic() + 30
    while "the connection is lost" not in caplog.text and time.monotonic() < end:
        time.sleep(0.05)
    assert "the job continues, trying again" in caplog.text and following.thread.is_alive()
    sent.log += "meanwhile\n"
    sent.end("SUCCEEDED", 0)
    api.away = False
    assert following.end() is None
    assert wait_for("one is done", capsys, seen) == "begun\nmeanwhile\none is done\n", "everything once"


def test_a_connection_that_stays_lost_ends_the_command(
    api: JobApi, sent: RayJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_module, "PATIENCE", 0.5)
    api.away = True
    error = Following(api).end()
    assert isinstance(error, TemporaryFailureError) and "the job continues without this terminal" in str(error)


def test_a_replaced_head_ends_the_command(api: JobApi) -> None:
    error = Following(api).end()
    assert isinstance(error, TemporaryFailureError) and "the Ray head was replaced" in str(error)


@pytest.mark.parametrize(
    ("state", "code", "given"), [("FAILED", 65, 65), ("FAILED", None, 1), ("FAILED", -9, 1), ("STOPPED", -15, 70)]
)
def test_what_failed_gives_its_exit_code(
    api: JobApi, sent: RayJob, state: str, code: int | None, given: int, capsys: pytest.CaptureFixture[str]
) -> None:
    sent.end(state, code, "first line\nepisode 3 is broken")
    error = Following(api).end()
    assert isinstance(error, GrootRayError) and error.exit_code == given
    assert str(error) == f"one has {state.lower()}: episode 3 is broken"
    assert capsys.readouterr().out == "begun\n"


def test_an_unreadable_log_does_not_hide_the_end(api: JobApi, sent: RayJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_log, "LAST_PAUSE", 0.0)
    api.broken_log = True
    sent.end("SUCCEEDED", 0)
    assert Following(api).end() is None


# --- status, logs and stop ---


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Location:
    """The folder of an experiment."""
    monkeypatch.setenv("GROOT_RAY_LEASE_SILENCE", "30")
    return open_location(tmp_path) / "walk"


def test_the_bar_shows_the_running_stage(root: Location, capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar(root)
    try:
        bar.update()
        (task,) = bar.bar.tasks
        assert task.description == "waiting" and task.total is None
        for stage, state in (("download", "done"), ("convert", "running")):
            folder = root / stage / "key"
            claim_attempt(folder).end(0, "done")
            about = {"work": stage, "done": 3, "total": 9, "unit": "episodes", "fields": {"fps": 250.0}}
            (folder / STATUS).write_json({"state": state, **about})
        bar.looked = float("-inf")
        bar.update()
        assert (task.description, task.completed, task.total) == ("convert", 3, 9)
        assert task.fields["line"] == "convert 3/9 episodes, fps 250"
        for piece in ("one li", "ne\ntwo [bold]", "lines\n", "", "the end"):
            bar.say(piece)
    finally:
        bar.close()
    lines = [line.rstrip() for line in capsys.readouterr().err.splitlines()]
    assert [line for line in lines if line in ("one line", "two [bold]lines", "the end")] == [
        "one line",
        "two [bold]lines",
        "the end",
    ]


def test_stop_saves_first_and_then_ends_the_ray_job(api: JobApi, sent: RayJob, root: Location) -> None:
    with pytest.raises(ConfigurationError, match="holds no experiment"):
        stop(root.uri)
    record(root, Submission("one", api.url, "2026-01-01T00:00:00Z"))
    folder = root / "finetune" / "key"
    claimed = claim_attempt(folder)
    claimed.hand_over()
    driver = adopt_attempt(folder, 1, claimed.ticket.owner)

    def save() -> None:
        while not driver.stop_requested():
            time.sleep(0.05)
        assert sent.status == "RUNNING", "it has time to save"
        driver.end(70, "saved checkpoint-12")

    saving = threading.Thread(target=save)
    saving.start()
    assert "attempt 1 is running" in status(root.uri)
    said = stop(root.uri)
    saving.join()
    assert said == f"finetune: saved checkpoint-12\none: stopped at {api.url}"
    assert sent.status == "STOPPED" and "one at 2026-01-01T00:00:00Z: STOPPED" in status(root.uri)
    assert "attempt 1 ended with code 70: saved checkpoint-12" in status(root.uri)
    assert stop(root.uri) == "nothing is running"


def test_stop_names_what_does_not_stop(root: Location) -> None:
    with claim_attempt(root / "convert" / "key"):
        assert stop(root.uri, wait=0.1) == "convert: did not stop within 0 s"


def test_a_stage_that_is_not_declared_is_rejected(api: JobApi, tmp_path: Path) -> None:
    path = experiment(tmp_path)
    said = re.escape(unknown_stage("finetun"))
    assert "did you mean 'finetune'?" in unknown_stage("finetun")
    with pytest.raises(ConfigurationError, match=f"^{said}$"):
        submit(path, api.url, stages=["finetun"])
    with pytest.raises(ConfigurationError, match=f"^{said}$"):
        list(logs(str(path), "finetun"))
    with pytest.raises(ConfigurationError, match=f"^{said}$"):
        stop(str(path), "finetun")
    content = json.loads(path.read_text()) | {"cluster": {"stages": {"finetun": {"after": "convert"}}}}
    path.write_text(json.dumps(content))
    for ask in (lambda: submit(path, api.url), lambda: status(str(path)), lambda: examine(load_document(path))):
        with pytest.raises(ConfigurationError, match=said):
            ask()
    assert not api.jobs
