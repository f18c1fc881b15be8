"""`groot-ray job STAGE`: the entry point of a stage's Kubernetes Job.

The Job waits for the predecessor's manifest, claims an attempt in storage, makes the stage's Ray cluster, submits the stage to it under an
id that is used once, follows it, and gives the cluster back. All truth is in storage and in the Ray cluster: a pod that is killed leaves
nothing behind that its successor would not find, so the successor follows the running attempt instead of starting a second one.

While it waits it imports neither Ray nor torch and stays below 80 MB.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from groot_ray.cluster.driver import document_variable
from groot_ray.cluster.job.deadline import JOB, worked
from groot_ray.cluster.job.settings import StageSettings, load_settings
from groot_ray.cluster.kube.api import Kubernetes, inside_pod
from groot_ray.cluster.ray.clusters import (
    KubeRayPlace,
    RayPlace,
    place_of,
    raycluster_places,
    submit_patiently,
    wait_for_ray,
)
from groot_ray.cluster.ray.jobs import JobState, RayJobs
from groot_ray.cluster.ray.log import FollowedLog
from groot_ray.cluster.status.pipeline import StageView, is_at_work, look, planning_folder
from groot_ray.errors import (
    ConfigurationError,
    GrootRayError,
    PredecessorFailedError,
    ServiceUnavailableError,
    StoppedError,
    TemporaryFailureError,
)
from groot_ray.experiment.cluster import ClusterOptions
from groot_ray.experiment.document import Document, build_document
from groot_ray.progress import format_duration
from groot_ray.ray_session import GROWTH
from groot_ray.storage.lease import Attempt, AttemptState, claim_attempt, end_attempt, last_attempt, request_stop
from groot_ray.storage.location import Location
from groot_ray.versions import VERSIONS, shared_versions

log = logging.getLogger(__name__)

NEVER_AGAIN = (2, 64, 65, 66, 70)  # exit codes that the chart's podFailurePolicy does not retry
LOST_AFTER = 150.0  # seconds without an answer from a Ray head after which its job counts as lost
RAY_JOB = "Ray job %s is %s"  # said when a submission's state changes; `cluster status` reads it in the Job's log
SUBMISSION, MODE = "submission", "mode"  # in an attempt's record: its Ray job, and where its Ray cluster came from
ABANDONED_AFTER = 120.0  # seconds without anybody who could make the result that is waited for


def main(stage: str, document_path: Path, settings_path: Path, digest: str = "") -> int:
    """Run a stage as its Job does and return the exit code 0; every failure is raised with its own exit code.

    Args:
        stage: name of the stage.
        document_path: the experiment document as JSON, from the release's ConfigMap.
        settings_path: what the chart tells this Job (`StageSettings`).
        digest: version of the release that this pod was made for; another one in the ConfigMap means that a new Job takes over.
    """
    signal.signal(signal.SIGTERM, _terminated)
    told = load_settings(settings_path, digest)
    if told.stage != stage:
        raise ConfigurationError(f"{settings_path} is for stage {told.stage!r}, not {stage!r}")
    document = read_document(document_path)
    kube = None if told.mode == "external" and not os.environ.get("KUBERNETES_SERVICE_HOST") else inside_pod()
    try:
        return StageJob(document, told, kube).run()
    except PodTerminated as end:
        print(f"groot-ray: {end.sentence}", file=sys.stderr, flush=True)
        raise


def read_document(path: Path) -> Document:
    """The document that the chart wrote; unlike an experiment file it is JSON, and no path in it is resolved."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TemporaryFailureError(f"{path} is gone: the release was changed or removed") from None
    return build_document(data, None, "the release's values")


class PodTerminated(SystemExit):
    """Kubernetes told this pod to go: the work goes on without it.

    It is raised wherever the signal finds the process, so it is no GrootRayError, which many places take for an answer that did not come.
    """

    sentence = "this pod was told to go; its successor finds the attempt and follows it"

    def __init__(self) -> None:
        super().__init__(TemporaryFailureError.exit_code)


def _terminated(number: int, frame: FrameType | None) -> None:
    raise PodTerminated


@dataclass
class StageJob:
    """One stage of one release, on one Ray cluster."""

    document: Document
    told: StageSettings
    kube: Kubernetes | None
    place: RayPlace = field(init=False)
    former: list[KubeRayPlace] = field(init=False)  # where this stage may have run in another cluster.ray.mode
    left: list[KubeRayPlace] = field(init=False)  # where stages may have run that are not enabled any more
    abandoned_since: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.place = place_of(self.kube, self.told)
        self.former = raycluster_places(self.kube, self.told, self.told.former)
        self.left = raycluster_places(self.kube, self.told, self.told.left)

    @property
    def options(self) -> ClusterOptions:
        return self.document.cluster or ClusterOptions()

    @property
    def poll(self) -> float:
        return float(self.options.jobs.poll)

    def run(self) -> int:
        """Wait, work, and clean up; see `main`."""
        while True:
            view = self.wait()
            planning = planning_folder(self.document, self.told.stage)
            planner = last_attempt(planning)
            if view.done and (planner is None or not planner.alive):
                log.info("%s is done: %s", self.told.stage, view.folder)
                break
            try:
                # The attempt that makes the plan finds out the stage's folder only on the way; its record stays where it began.
                at_plan = planner is not None and planner.alive and self.is_ours(planner)
                self.work(planning if at_plan else view.folder)
                break
            except GrootRayError as error:
                for_good = error.exit_code in NEVER_AGAIN
                if not for_good and self.is_suspended():  # nobody's failure, so no try is used up
                    log.info("%s; the queue has taken the Ray cluster's place back: waiting for it again", error)
                    continue
                if for_good or self.is_last_try():
                    self.give_back()
                raise
        self.give_back()
        return 0

    # --- waiting ---------------------------------------------------------------------------------------------------------------

    def wait(self) -> StageView:
        """Wait until the stage is done or its inputs are there."""
        said = ""
        while True:
            view: StageView | None = None
            try:
                view = look(self.document, self.told.stage)
                if view.done or view.ready:
                    return view
                sentence = f"waiting for {view.waits_for}"
            except ServiceUnavailableError as error:
                sentence = str(error)
            if sentence != said:
                log.info("%s", sentence)
                said = sentence
            if view is not None:
                self.look_at_predecessor(view)
                self.drop_outdated()
            time.sleep(self.poll)

    def look_at_predecessor(self, view: StageView) -> None:
        """Raise PredecessorFailedError when the Job of the stage before has failed for good, or nobody is left to make its result."""
        if self.kube is None or not self.told.after_job:
            return
        try:
            job = self.kube.find(f"/apis/batch/v1/namespaces/{self.told.namespace}/jobs/{self.told.after_job}")
            conditions = [c for c in (job or {}).get("status", {}).get("conditions", []) if c.get("status") == "True"]
            for condition in conditions:
                if condition.get("type") == "Failed":
                    raise PredecessorFailedError(
                        f"stage {self.told.after} has failed ({condition.get('message') or condition.get('reason')}); "
                        f"see kubectl -n {self.told.namespace} logs job/{self.told.after_job}"
                    )
            has_ended = job is None or any(condition.get("type") == "Complete" for condition in conditions)
            if not has_ended or self.is_made_elsewhere(view):
                self.abandoned_since = None
                return
        except ServiceUnavailableError:
            return
        self.abandoned_since = self.abandoned_since or time.monotonic()
        if time.monotonic() - self.abandoned_since > ABANDONED_AFTER:
            raise PredecessorFailedError(
                f"nobody makes the result of stage {self.told.after}: its Job {self.told.after_job} is "
                f"{'gone' if job is None else 'complete'} and left none; "
                "give cluster.rerun another text and run helm upgrade, which makes all Jobs anew"
            )

    def is_made_elsewhere(self, view: StageView) -> bool:
        """Whether somebody works on what this stage waits for, a laptop say."""
        names = {name for name in (self.told.after, view.waits_for) if name is not None}
        folders = [look(self.document, name).folder for name in names]
        return any(map(is_at_work, [*folders, *(planning_folder(self.document, name) for name in names)]))

    def drop_outdated(self) -> None:
        """Remove Ray clusters that still work on what the release was before: their inputs are being made anew."""
        try:
            self.remove_outdated()
        except ServiceUnavailableError as error:
            log.warning("%s", error)

    def remove_outdated(self) -> None:
        """Give back what earlier versions of this release left running."""
        for place in self.outdated([self.place, *self.former, *self.left]):
            log.info("removing a Ray cluster of an earlier version of this release")
            place.stop()

    def outdated(self, places: Iterable[RayPlace]) -> list[RayPlace]:
        """Those of the places where a Ray cluster of an earlier version of this release runs."""
        return [place for place in places if place.digest() not in (None, self.told.digest)]

    # --- working ---------------------------------------------------------------------------------------------------------------

    def work(self, folder: Location) -> None:
        """Bring the stage to its manifest: follow the attempt that runs, or start one."""
        last = last_attempt(folder)
        if last is not None and not last.ended and self.is_ours(last):
            runs, changed = self.place.digest() is not None, last.holder.get("digest") != self.told.digest
            elsewhere = last.holder.get(MODE, self.told.mode) != self.told.mode  # on a Ray cluster that stays, perhaps
            if self.outdated([self.place, *self.former]) or elsewhere or (runs and changed):
                self.stop_old(folder, last)
            elif not runs:
                end_attempt(folder, last, TemporaryFailureError.exit_code, "its Ray cluster is gone")
            elif self.follow_again(folder, last):
                return
        self.remove_outdated()
        self.start(folder)

    def is_ours(self, attempt: AttemptState) -> bool:
        """Whether a Job of this release claimed an attempt."""
        return attempt.holder.get("release") == self.told.release

    def follow_again(self, folder: Location, last: AttemptState) -> bool:
        """Follow the attempt that an earlier pod of this Job started; False when it is lost and another has to be started."""
        submission = self.submission_id(folder, last.number)
        try:
            if (turn := self.place.waits_for()) is not None:
                raise TemporaryFailureError(turn)
            jobs = wait_for_ray(self.place, LOST_AFTER, "", lambda: None)
            state = jobs.state(submission)
        except TemporaryFailureError:
            state = None
        if state is None:
            end_attempt(
                folder, last, TemporaryFailureError.exit_code, "its Ray head was lost, or it was never submitted"
            )
            return False
        log.info("attempt %d (%s) is running: following it", last.number, submission)
        self.follow(folder, last.number, jobs, submission)
        return True

    def stop_old(self, folder: Location, last: AttemptState) -> None:
        """End an attempt of an earlier version of the release, letting it save what it has."""
        log.info("attempt %d belongs to an earlier version of this release: stopping it", last.number)
        if last.alive and request_stop(folder):
            until = time.monotonic() + self.options.ray.save_seconds + 60
            while time.monotonic() < until:
                now = last_attempt(folder)
                if now is None or now.number != last.number or now.ended or not now.alive:
                    break
                time.sleep(self.poll)
        if self.told.mode == "external":
            jobs, submission = self.place.connect(), self.submission_id(folder, last.number)
            if (state := jobs.state(submission)) is not None and not state.finished:
                jobs.stop(submission)
        for place in (self.place, *self.former):
            place.stop()
        end_attempt(folder, last, TemporaryFailureError.exit_code, "the release was changed")

    def start(self, folder: Location) -> None:
        """Claim the next attempt, make the cluster and submit."""
        attempt = claim_attempt(
            folder,
            about={"release": self.told.release, "digest": self.told.digest, MODE: self.told.mode, JOB: job_name()},
            name=lambda number: {SUBMISSION: self.submission_id(folder, number)},
            until=lambda: look(self.document, self.told.stage).done,
            poll=self.poll,
        )
        if attempt is None:
            return
        submission = self.submission_id(folder, attempt.number)

        def wanted() -> None:
            """Raise when a person has asked for the end, or another attempt has taken over."""
            with suppress(ServiceUnavailableError):
                attempt.stoppable.check()

        with attempt_until_submitted(attempt):
            self.check_deadline(folder)
            self.place.start(wanted)
            jobs = wait_for_ray(self.place, self.options.ray.start_timeout, self.expected_ray(), wanted)
            environment = {
                "GROOT_RAY_DOCUMENT": document_variable(self.document.model_dump_json(by_alias=True)),
                "GROOT_RAY_ATTEMPT": f"{attempt.number}:{attempt.ticket.owner}",
                "GROOT_RAY_LEASE": folder.uri,
                "GROOT_RAY_SUBMISSION": submission,
            }
            if self.told.mode != "external":
                environment[VERSIONS] = json.dumps(shared_versions())
                environment[GROWTH] = json.dumps(self.told.growth(self.options.ray.gpu.gpus))
            entrypoint = f"python -m groot_ray.cluster.driver {self.told.stage}"
            submit_patiently(jobs, submission, entrypoint, environment, LOST_AFTER, wanted)
            log.info("submitted attempt %d as %s", attempt.number, submission)
        self.follow(folder, attempt.number, jobs, submission)

    def submission_id(self, folder: Location, number: int) -> str:
        """An id that is used once: Ray refuses it for ever afterwards."""
        return f"{self.told.release}-{self.told.stage}-{folder.name}-{number}"

    def expected_ray(self) -> str:
        """Version of the Ray in this image, which the cluster has to run too; not asked of clusters that are not ours."""
        return "" if self.told.mode == "external" else shared_versions().get("ray", "")

    def follow(self, folder: Location, number: int, jobs: RayJobs, submission: str) -> None:
        """Wait for the end of a submitted attempt, printing what its driver prints.

        Raises:
            GrootRayError: the attempt failed; the exit code is the driver's.
        """
        silent_since, said = None, ""
        printed = FollowedLog(submission, lambda text: print(text, end="", flush=True))
        while True:
            try:
                state = jobs.state(submission)
                if state is not None:
                    if state.status != said:
                        said = state.status
                        log.info(RAY_JOB, submission, said)
                    printed.look(jobs, last=state.finished)
                silent_since = None
            except ServiceUnavailableError as error:
                silent_since = silent_since or time.monotonic()
                if time.monotonic() - silent_since < LOST_AFTER and self.is_there():
                    time.sleep(self.poll)
                    jobs = self.reconnected(jobs)
                    continue
                state, trouble = None, str(error)
            else:
                trouble = "its head was replaced"
            if state is None:
                raise self.ended(
                    folder,
                    number,
                    TemporaryFailureError.exit_code,
                    f"the Ray cluster of attempt {number} was lost: {trouble}",
                )
            if state.finished:
                self.finish(folder, number, state)
                return
            self.check_deadline(folder)
            time.sleep(self.poll)

    def reconnected(self, jobs: RayJobs) -> RayJobs:
        """A fresh connection: a head that was replaced may have another token."""
        try:
            return self.place.connect()
        except GrootRayError:
            return jobs

    def finish(self, folder: Location, number: int, state: JobState) -> None:
        """Tell a success from a failure, by what the driver wrote to storage and what Ray says."""
        view = self.patient_look()
        if state.status == "SUCCEEDED" and view.done:
            log.info("%s is done: %s", self.told.stage, folder)
            return
        recorded = last_attempt(folder)
        if recorded is not None and recorded.number == number and recorded.ended and recorded.code is not None:
            code, sentence = recorded.code, recorded.sentence
        elif state.status == "STOPPED":
            code, sentence = StoppedError.exit_code, "the Ray job was stopped"
        else:
            code = (
                state.exit_code
                if state.exit_code is not None and state.exit_code > 0
                else TemporaryFailureError.exit_code
            )
            sentence = state.message or "its driver ended without a word"
        if view.done:
            log.info("%s is done all the same: %s", self.told.stage, folder)
            return
        if code == 0:
            code, sentence = 1, "the driver ended without its manifest"
        raise self.ended(folder, number, code, sentence)

    def patient_look(self) -> StageView:
        """Look at the stage, however long storage is away."""
        while True:
            try:
                return look(self.document, self.told.stage)
            except ServiceUnavailableError as error:
                log.warning("%s", error)
                time.sleep(self.poll)

    def ended(self, folder: Location, number: int, code: int, sentence: str) -> GrootRayError:
        """Write down the end of an attempt (unless it has one) and make the error to raise."""
        state = last_attempt(folder)
        if state is not None and state.number == number and not state.ended:
            end_attempt(folder, state, code, sentence)
        return failure(code, f"{self.told.stage}, attempt {number}: {sentence}")

    def check_deadline(self, folder: Location) -> None:
        """Stop a stage that has worked for longer than it may, in all attempts of this Job together; waiting is not work."""
        stage = self.options.stages.get(self.told.stage)
        if stage is None or stage.deadline is None:
            return
        folders = {planning_folder(self.document, self.told.stage), folder}  # of attempts before the plan and after it
        try:
            if sum(worked(where, job_name()) for where in folders) < stage.deadline:
                return
        except ServiceUnavailableError:
            return  # storage is away; the next look tells
        sentence = f"worked for longer than its deadline of {format_duration(stage.deadline)}; raise cluster.stages.{self.told.stage}.deadline"
        if request_stop(folder):
            until = time.monotonic() + self.options.ray.save_seconds + 60
            while time.monotonic() < until and (now := last_attempt(folder)) is not None and now.alive:
                time.sleep(self.poll)
        raise StoppedError(f"{self.told.stage} {sentence}")

    def is_there(self) -> bool:
        """Whether the Ray cluster exists, as far as Kubernetes can be asked now."""
        try:
            return self.place.digest() is not None
        except ServiceUnavailableError:
            return True

    def is_suspended(self) -> bool:
        """Whether a queue keeps the Ray cluster from running, as far as Kubernetes can be asked now."""
        try:
            return self.place.suspended()
        except GrootRayError:
            return False

    def own_job(self) -> dict[str, Any] | None:
        """This pod's Job, as Kubernetes sees it."""
        if self.kube is None or not job_name():
            return None
        try:
            return self.kube.find(f"/apis/batch/v1/namespaces/{self.told.namespace}/jobs/{job_name()}")
        except GrootRayError:
            return None

    def is_last_try(self) -> bool:
        """Whether Kubernetes will make no further pod for this Job."""
        job = self.own_job()
        if job is None:
            return True
        return int(job.get("status", {}).get("failed") or 0) >= int(job["spec"].get("backoffLimit", 6))

    def give_back(self) -> None:
        """Remove the cluster, and what earlier versions left; a failure is only told, because owner references remove all with the release."""
        try:
            self.place.stop()
            self.remove_outdated()
        except ServiceUnavailableError as error:
            log.warning("the Ray cluster could not be removed: %s", error)


class attempt_until_submitted:
    """Keeps an attempt's heartbeat until its driver is submitted, which then goes on with it; writes down an earlier failure."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt

    def __enter__(self) -> Attempt:
        return self.attempt

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None:
            self.attempt.hand_over()
        elif isinstance(error, PodTerminated):
            self.attempt.__exit__(TemporaryFailureError, TemporaryFailureError(error.sentence), trace)
        else:
            self.attempt.__exit__(kind, error, trace)


def job_name() -> str:
    """Name of this pod's Job; empty outside Kubernetes."""
    return os.environ.get("JOB_NAME", "")


def failure(code: int, sentence: str) -> GrootRayError:
    """An error with the exit code of a driver elsewhere."""
    error = GrootRayError(sentence)
    error.exit_code = code
    return error
