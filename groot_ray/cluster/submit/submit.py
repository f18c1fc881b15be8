"""Sending an experiment to a Ray cluster from a laptop, and looking after what was sent.

A submission is written down in the experiment's storage (`submissions/ID.json`), so that `status`, `logs` and `stop` find it from any
machine. The cluster needs an image or environment with groot-ray; the working directory is sent along for own code.
"""

from __future__ import annotations

import codecs
import json
import logging
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from groot_ray.cluster.driver import document_variable
from groot_ray.cluster.ray.clusters import submit_patiently
from groot_ray.cluster.ray.jobs import JobState, RayJobs
from groot_ray.cluster.ray.log import FollowedLog
from groot_ray.cluster.status.pipeline import check_workers, experiment_location, newest_work, stage_names
from groot_ray.cluster.status.status import progress_line
from groot_ray.cluster.submit.package import pack
from groot_ray.errors import (
    ConfigurationError,
    GrootRayError,
    ServiceUnavailableError,
    StoppedError,
    TemporaryFailureError,
)
from groot_ray.experiment.cluster import SECRET_NAME
from groot_ray.experiment.document import Document, load_document
from groot_ray.experiment.render import render_document
from groot_ray.stages.work import stage_named
from groot_ray.storage.check import check_storage
from groot_ray.storage.client import has_credentials
from groot_ray.storage.lease import attempts, last_attempt, request_stop
from groot_ray.storage.location import Location, open_location
from groot_ray.storage.logs import log_names, read_log
from groot_ray.storage.status import read_status
from groot_ray.storage.store import NotFoundError

log = logging.getLogger(__name__)

SUBMISSIONS = "submissions"
SENT = ("AWS_", "HF_", "WANDB_", "GROOT_RAY_")
PATIENCE = 600.0  # seconds without an answer after which following ends; the job itself goes on
SUBMITTING = 30.0  # seconds for which a submission is tried


@dataclass(frozen=True)
class Submission:
    """Something that was sent to a Ray cluster."""

    id: str
    address: str
    at: str
    stages: list[str] | None = None


def ray_token() -> str | None:
    """Ray's token from where Ray looks for it: RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return os.environ["RAY_AUTH_TOKEN"].strip()
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    return path.read_text().strip() if path.is_file() else None


def environment_to_send(names: Iterable[str] = (), secrets: bool = False) -> dict[str, str]:
    """Variables for the job: AWS_*, HF_*, WANDB_* and GROOT_RAY_* of this environment, and `names` (NAME or NAME=VALUE).

    Ray shows a job's environment to everyone who may see the job, so secrets stay here unless `secrets` is set or their name is given.
    """
    sent = {name: value for name, value in os.environ.items() if name.startswith(SENT)}
    kept_back = sorted(name for name in sent if SECRET_NAME.search(name))
    if kept_back and not secrets:
        sent = {name: value for name, value in sent.items() if name not in kept_back}
    for item in names:
        name, equals, value = item.partition("=")
        if not equals and name not in os.environ:
            raise ConfigurationError(f"--env {name}: there is no such variable here; write --env {name}=VALUE")
        sent[name] = value if equals else os.environ[name]
        if name in kept_back:
            kept_back.remove(name)
    if kept_back and not secrets:
        log.info("not sent, because Ray shows a job's environment: %s (--secrets sends them)", ", ".join(kept_back))
    for name in ("AWS_CA_BUNDLE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "HF_HOME"):  # files of this machine
        if name not in [item.partition("=")[0] for item in names]:
            sent.pop(name, None)
    return sent


def submit(
    path: Path,
    address: str,
    *,
    stages: list[str] | None = None,
    overrides: dict[str, Any] | None = None,
    env: Iterable[str] = (),
    secrets: bool = False,
    excludes: Iterable[str] = (),
    working_dir: Path | None = None,
    follow: bool = True,
) -> str:
    """Send an experiment to a Ray cluster and follow it; returns the submission's id.

    Args:
        address: http address of the Ray dashboard (http://localhost:8265 through kubectl port-forward).
        stages: run these stages only.
        working_dir: folder that is sent; the experiment file's own when not given.

    Raises:
        ConfigurationError: the document, the address or the token is wrong.
        GrootRayError: what was submitted failed, with its exit code.
    """
    document = load_document(path, overrides)
    stages = [stage_named(name).name for name in stages] if stages else None
    check_workers(document, stages)
    root = storage_from_here(document)
    jobs = RayJobs(address, ray_token())
    jobs.ray_version()
    name, data = pack((working_dir or path.resolve().parent).resolve(), excludes)
    jobs.upload(name, data)
    submission = f"{document.experiment.name}-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    rendered = {key: value for key, value in render_document(document).items() if key == "experiment"}
    environment = {
        **environment_to_send(env, secrets),
        "GROOT_RAY_DOCUMENT": document_variable(json.dumps(rendered)),
        "GROOT_RAY_SUBMISSION": submission,
    }
    entrypoint = f"python -m groot_ray.cluster.ray.remote {' '.join(stages or ['all'])}"
    try:
        submit_patiently(jobs, submission, entrypoint, environment, SUBMITTING, working_dir=f"gcs://{name}")
    except ServiceUnavailableError as error:
        raise ServiceUnavailableError(
            f"{error}; if it took the submission all the same, that is {submission}"
        ) from None
    print(f"submitted {submission} ({len(data) / 2**20:.1f} MiB of {working_dir or path.parent})", flush=True)
    if root is not None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        write_down(root, Submission(submission, jobs.address, now, stages))
    if follow:
        follow_submission(jobs, submission, root)
    return submission


def storage_from_here(document: Document) -> Location | None:
    """The experiment's folder, if this machine can use it; None, and a warning, where only the cluster may be able to.

    Raises:
        ConfigurationError: the storage answers, and refuses: a missing bucket, a wrong secret, a missing right.
    """
    root = experiment_location(document)
    if root.is_local:
        log.warning(
            "experiment.storage.uri is the folder %s, which has to be one that the Ray cluster sees too",
            document.experiment.storage.uri,
        )
    trouble = None if root.is_local or has_credentials() else "this machine has no credentials for object storage"
    try:
        if trouble is None:
            check_storage(root)
    except ServiceUnavailableError as error:
        trouble = str(error)
    except ConfigurationError as error:
        if not root.is_local:
            raise
        trouble = str(error)
    if trouble is None:
        return root
    log.warning("%s: groot-ray status, logs and stop will not find this submission from here", trouble)
    return None


def write_down(root: Location, submission: Submission) -> None:
    """Note a submission in storage, for `status`, `logs` and `stop`; that it could not be noted is only told."""
    try:
        (root / SUBMISSIONS / f"{submission.id}.json").write_json(asdict(submission))
    except GrootRayError as error:
        log.warning("%s could not be noted in storage, so status and stop will not find it: %s", submission.id, error)


def follow_submission(jobs: RayJobs, submission: str, root: Location | None) -> None:
    """Print what a submission prints until it ends; a lost connection is waited for. `root`: where its progress is read, if anywhere.

    Raises:
        TemporaryFailureError: the Ray head was replaced, or did not answer for ten minutes.
        GrootRayError: it failed, with its exit code.
    """
    lost_at = None
    bar = Bar(root) if root is not None and sys.stderr.isatty() else None
    printed = FollowedLog(submission, bar.say if bar else _say)
    try:
        while True:
            try:
                state = jobs.state(submission)
                if state is not None:
                    printed.look(jobs, last=state.finished)
            except ServiceUnavailableError as error:
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > PATIENCE:
                    raise TemporaryFailureError(
                        f"{error}; the job goes on without this terminal: groot-ray status and groot-ray logs read storage"
                    ) from None
                log.warning("the connection is lost (%s); the job goes on, trying again", error)
                time.sleep(3)
                continue
            lost_at = None
            if state is None:
                raise TemporaryFailureError(
                    f"the Ray head was replaced and does not know {submission} any more; submit again: it goes on from what is in storage"
                )
            if bar:
                bar.update()
            if state.finished:
                _judge(submission, state)
                return
            time.sleep(1 if bar else 2)
    except KeyboardInterrupt:
        print(f"\n{submission} goes on; groot-ray status, logs and stop look after it", file=sys.stderr)
        raise StoppedError("following was ended; the job goes on") from None
    finally:
        if bar:
            bar.close()


def _say(text: str) -> None:
    print(text, end="", flush=True)


def _judge(submission: str, state: JobState) -> None:
    if state.status == "SUCCEEDED":
        print(f"{submission} is done")
        return
    error = GrootRayError(f"{submission} has {state.status.lower()}: {state.message or 'see its log above'}")
    error.exit_code = (
        StoppedError.exit_code
        if state.status == "STOPPED"
        else (state.exit_code if (state.exit_code or 0) > 0 else 1) or 1
    )
    raise error


class Bar:
    """A progress bar for work elsewhere, fed by `status.json` in storage."""

    def __init__(self, root: Location) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.root = root
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[line]}"),
            console=Console(stderr=True),
        )
        self.task = self.bar.add_task("waiting", total=None, line="")
        self.bar.start()
        self.looked = 0.0
        self.begun = ""  # of a line whose end has not come yet

    def update(self) -> None:
        """Read the status at most every three seconds."""
        if time.monotonic() - self.looked < 3:
            return
        self.looked = time.monotonic()
        try:
            for stage, status in reversed(list(statuses(self.root))):
                if status and status.get("state") == "running":
                    self.bar.update(
                        self.task,
                        description=stage,
                        total=status.get("total"),
                        completed=status.get("done", 0),
                        line=progress_line(status),
                    )
                    return
        except GrootRayError:
            return

    def say(self, text: str) -> None:
        """Print text above the bar, line by line."""
        lines, newline, self.begun = (self.begun + text).rpartition("\n")
        if newline:
            self.bar.console.print(lines, markup=False, highlight=False)

    def close(self) -> None:
        """Print what is left, and remove the bar."""
        if self.begun:
            self.say("\n")
        self.bar.stop()


# --- looking after what was sent --------------------------------------------------------------------------------------------------


def root_of(target: str, endpoint: str | None = None) -> Location:
    """The experiment's folder: of an experiment file, or given as a folder or URI."""
    if target.endswith((".yaml", ".yml", ".json")):
        return experiment_location(load_document(target))
    root = open_location(target, endpoint)
    if not root.has_files():
        raise ConfigurationError(f"{root} holds no experiment; give an experiment file, or STORAGE/NAME")
    return root


def statuses(root: Location) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """(stage, status) of the newest work of each stage."""
    for stage in stage_names(root):
        folder = newest_work(root, stage)
        if folder is not None:
            yield stage, read_status(folder)


def submissions(root: Location) -> list[Submission]:
    """What was submitted, oldest first."""
    found = []
    for entry in (root / SUBMISSIONS).list(recursive=False):
        data = entry.location.read_json()
        found.append(Submission(data["id"], data["address"], data["at"], data.get("stages")))
    return sorted(found, key=lambda item: item.at)


def status(target: str, endpoint: str | None = None) -> str:
    """The state of an experiment's stages and of its last submission, as text."""
    root = root_of(target, endpoint)
    lines = [str(root)]
    for stage in stage_names(root):
        folder = newest_work(root, stage)
        if folder is None:
            continue
        last, state = last_attempt(folder), read_status(folder)
        lines.append(f"  {stage:<10} {describe_attempt(last, state)}")
    for sent in submissions(root)[-1:]:
        lines.append(f"  submitted  {sent.id} at {sent.at}: {_ray_state(sent)}")
    if len(lines) == 1:
        lines.append("  nothing has been started yet")
    return "\n".join(lines)


def describe_attempt(last: Any, state: dict[str, Any] | None) -> str:
    """One line for the last attempt at a stage."""
    if last is None:
        return "not begun"
    if last.ended:
        if last.code == 0:
            return f"done (attempt {last.number})"
        return f"attempt {last.number} ended with code {last.code}: {last.sentence}"
    line = progress_line(state) if state and state.get("attempt") == last.number else "starting"
    if last.alive:
        return f"attempt {last.number} is at work: {line}"
    return f"attempt {last.number} has fallen silent {last.age:.0f} s ago; last: {line}"


def _ray_state(sent: Submission) -> str:
    try:
        state = RayJobs(sent.address, ray_token()).state(sent.id)
    except GrootRayError:
        return f"Ray at {sent.address} cannot be asked from here"
    return (
        "its Ray head was replaced"
        if state is None
        else f"{state.status}{f', {state.message}' if state.message else ''}"
    )


def logs(
    target: str, stage: str | None = None, attempt: int | None = None, follow: bool = False, endpoint: str | None = None
) -> Iterator[str]:
    """The log of a stage's attempt (the newest ones when not given) from storage, piece by piece; `follow` waits for more until it ends."""
    root = root_of(target, endpoint)
    names = [stage] if stage else stage_names(root)
    folders = [(name, folder) for name in names if (folder := newest_work(root, name)) is not None]
    if not folders:
        raise ConfigurationError(f"{root} has no log{f' of stage {stage}' if stage else ''} yet")
    for name, folder in folders if stage is None and not follow else folders[-1:]:
        yield from stage_log(name, folder, attempt, follow)


def stage_log(stage: str, folder: Location, attempt: int | None, follow: bool) -> Iterator[str]:
    """The logs of one attempt at a stage, each under a headline."""
    said: dict[tuple[str, str], int] = {}  # bytes
    decode: dict[tuple[str, str], Callable[[bytes], str]] = {}
    while True:
        last = last_attempt(folder)
        found = log_names(folder)
        wanted = f"attempt-{attempt}" if attempt is not None else (found[-1][0] if found else None)
        for pair in [pair for pair in found if pair[0] == wanted]:
            begun = 0
            for piece in read_log(folder, *pair):
                skip = said.get(pair, 0) - begun
                begun += len(piece)
                if skip >= len(piece):
                    continue
                if pair not in said:
                    yield f"--- {stage}, {pair[0]}, {pair[1]}\n"
                    decode[pair] = codecs.getincrementaldecoder("utf-8")("replace").decode
                yield decode[pair](piece[skip:])
                said[pair] = begun
        if not follow or last is None or not last.alive:
            return
        time.sleep(3)


def stop(target: str, stage: str | None = None, wait: float = 300.0, endpoint: str | None = None) -> str:
    """Ask the running attempt to save and stop, wait for that, then stop the Ray job of the last submission.

    Returns:
        what came of it, for people.
    """
    root = root_of(target, endpoint)
    said = []
    for name in [stage] if stage else stage_names(root):
        folder = newest_work(root, name)
        if folder is None or not request_stop(folder):
            continue
        until = time.monotonic() + wait
        while time.monotonic() < until and (last := last_attempt(folder)) is not None and last.alive:
            time.sleep(2)
        last = attempts(folder)[-1]
        said.append(
            f"{name}: {last.sentence or 'stopped'}" if last.ended else f"{name}: did not stop within {wait:.0f} s"
        )
    for sent in submissions(root)[-1:]:
        try:
            jobs = RayJobs(sent.address, ray_token())
            state = jobs.state(sent.id)
            if state is not None and not state.finished:
                jobs.stop(sent.id)
                said.append(f"{sent.id}: stopped at {sent.address}")
        except (GrootRayError, NotFoundError) as error:
            said.append(f"{sent.id}: {error}")
    return "\n".join(said) if said else "nothing is running"
