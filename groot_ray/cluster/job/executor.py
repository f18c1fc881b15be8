"""Runs one stage of one release: looks at storage and Kubernetes, asks `next_action`, and performs the answer."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from groot_ray.cluster.job.clusters import StageClusters
from groot_ray.cluster.job.deadline import Deadline
from groot_ray.cluster.job.follow import LOST_AFTER, Follower, failure
from groot_ray.cluster.job.next_action import (
    Action,
    EndAttempt,
    Fail,
    Finish,
    FollowAttempt,
    GiveUp,
    RemoveOutdated,
    StartAttempt,
    StopOldAttempt,
    Wait,
    next_action,
)
from groot_ray.cluster.job.observer import Observer, Seen
from groot_ray.cluster.job.own_job import is_last_try
from groot_ray.cluster.job.predecessor import Predecessor
from groot_ray.cluster.job.record import submission_id
from groot_ray.cluster.job.start import Starter
from groot_ray.cluster.job.stopping import stop_and_wait
from groot_ray.cluster.kube.api import Kubernetes
from groot_ray.cluster.kube.exit_codes import NEVER_RETRIED
from groot_ray.cluster.kube.settings import StageSettings
from groot_ray.cluster.ray.connect import wait_for_ray
from groot_ray.errors import GrootRayError, PredecessorFailedError, ServiceUnavailableError, TemporaryFailureError
from groot_ray.experiment.cluster import ClusterOptions
from groot_ray.experiment.document import Document
from groot_ray.storage.lease import AttemptState, end_attempt
from groot_ray.storage.location import Location

log = logging.getLogger(__name__)


@dataclass
class StageJob:
    """One stage of one release, on one Ray cluster."""

    document: Document
    settings: StageSettings
    kube: Kubernetes | None
    clusters: StageClusters = field(init=False)

    def __post_init__(self) -> None:
        self.clusters = StageClusters(self.kube, self.settings)

    @property
    def poll(self) -> float:
        """Seconds between two looks at storage, Kubernetes or Ray."""
        return float((self.document.cluster or ClusterOptions()).jobs.poll)

    def run(self) -> int:
        """Bring the stage to its manifest and give the Ray cluster back; see `main`."""
        predecessor = Predecessor(self.document, self.settings, self.kube)
        observer = Observer(self.document, self.settings, self.clusters, predecessor, self.poll)
        done = False
        while not done:
            seen = observer.observe()
            action = next_action(seen.view, seen.attempt, seen.cluster)
            match action:
                case GiveUp(sentence):
                    raise PredecessorFailedError(sentence)
                case Wait(reason):
                    observer.say(reason)
                    self.wait(action)
                case _:
                    done = self.perform_or_recover(action, seen)
        self.clusters.give_back()
        return 0

    def wait(self, action: Wait) -> None:
        """Wait a moment, without the Ray clusters of earlier versions."""
        if action.remove_outdated:
            try:
                self.clusters.remove_outdated()
            except ServiceUnavailableError as error:
                log.warning("%s", error)
        time.sleep(self.poll)

    def perform_or_recover(self, action: Action, seen: Seen) -> bool:
        """Perform an action; True if the stage is done. A failure is raised, unless this pod is to try again."""
        try:
            return self.perform(action, seen)
        except GrootRayError as error:
            is_final = error.exit_code in NEVER_RETRIED
            if not is_final and self.clusters.is_suspended():  # not a failure, so it does not use up a try
                log.info("%s; the queue preempted the Ray cluster: waiting for it again", error)
                return False
            if is_final or is_last_try(self.kube, self.settings.namespace):
                self.clusters.give_back()
            raise

    def perform(self, action: Action, seen: Seen) -> bool:
        """Perform an action; True if the stage is done.

        Raises:
            GrootRayError: the attempt failed; the exit code is the driver's.
        """
        match action, seen.attempt:
            case Finish(), _:
                log.info("%s is done: %s", self.settings.stage, seen.folder)
                return True
            case StartAttempt(), _:
                self.start(seen.folder)
                return True
            case FollowAttempt(), AttemptState() as attempt:
                return self.follow_again(seen.folder, attempt)
            case StopOldAttempt(), AttemptState() as attempt:
                self.stop_old(seen.folder, attempt)
            case EndAttempt(code, sentence), AttemptState() as attempt:
                end_attempt(seen.folder, attempt, code, sentence)
            case RemoveOutdated(), _:
                self.clusters.remove_outdated()
            case Fail(code, sentence), _:
                raise failure(code, sentence)
        return False

    def start(self, folder: Location) -> None:
        """Start the next attempt and follow it to its end."""
        ray_cluster = self.clusters.current
        starter = Starter(self.document, self.settings, ray_cluster, self.deadline, self.poll)
        started = starter.start(folder)
        if started is not None:
            self.follower.follow(folder, started.number, started.jobs, started.submission)

    def follow_again(self, folder: Location, last: AttemptState) -> bool:
        """Follow the attempt that an earlier pod of this Job started; False if it is lost."""
        submission = submission_id(self.settings, folder, last.number)
        try:
            jobs = wait_for_ray(self.clusters.current, LOST_AFTER, "", lambda: None)
            state = jobs.state(submission)
        except TemporaryFailureError:
            state = None
        if state is None:
            sentence = "its Ray head was lost, or it was never submitted"
            end_attempt(folder, last, TemporaryFailureError.exit_code, sentence)
            return False
        log.info("attempt %d (%s) is running: following it", last.number, submission)
        self.follower.follow(folder, last.number, jobs, submission)
        return True

    def stop_old(self, folder: Location, last: AttemptState) -> None:
        """End an attempt of an earlier version of the release, after it had time to save."""
        log.info("attempt %d belongs to an earlier version of this release: stopping it", last.number)
        save_seconds = (self.document.cluster or ClusterOptions()).ray.save_seconds
        stop_and_wait(folder, save_seconds + 60, self.poll)
        if self.settings.mode == "external":
            jobs, submission = self.clusters.current.connect(), submission_id(self.settings, folder, last.number)
            if (state := jobs.state(submission)) is not None and not state.finished:
                jobs.stop(submission)
        self.clusters.stop()
        end_attempt(folder, last, TemporaryFailureError.exit_code, "the release was changed")

    @property
    def deadline(self) -> Deadline:
        return Deadline(self.document, self.settings.stage, self.poll)

    @property
    def follower(self) -> Follower:
        return Follower(self.document, self.settings.stage, self.clusters.current, self.deadline, self.poll)
