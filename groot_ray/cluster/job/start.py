"""Starts an attempt: claims it, starts the Ray cluster and submits the stage."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from groot_ray.cluster.job.deadline import Deadline
from groot_ray.cluster.job.follow import LOST_AFTER
from groot_ray.cluster.job.record import DIGEST, JOB, MODE, RELEASE, SUBMISSION, job_name, submission_id
from groot_ray.cluster.job.termination import PodTerminated
from groot_ray.cluster.kube.settings import StageSettings
from groot_ray.cluster.ray.cluster import RayCluster
from groot_ray.cluster.ray.connect import submit_patiently, wait_for_ray
from groot_ray.cluster.ray.document import DOCUMENT, document_variable
from groot_ray.cluster.ray.jobs import RayJobs
from groot_ray.errors import ServiceUnavailableError, TemporaryFailureError
from groot_ray.experiment.cluster import ClusterOptions
from groot_ray.experiment.document import Document
from groot_ray.ray_session import GROWTH
from groot_ray.stages.state import inspect_stage
from groot_ray.storage.lease import Attempt, claim_attempt
from groot_ray.storage.location import Location
from groot_ray.versions import VERSIONS, shared_versions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Submitted:
    """An attempt whose driver was submitted."""

    number: int
    submission: str
    jobs: RayJobs


@dataclass
class Starter:
    """Starts attempts at a stage on `ray_cluster`; `poll` is the seconds between two looks at another's attempt."""

    document: Document
    settings: StageSettings
    ray_cluster: RayCluster
    deadline: Deadline
    poll: float

    def start(self, folder: Location) -> Submitted | None:
        """Claim the next attempt at the stage in `folder`, start the Ray cluster and submit; None if the stage is done.

        Raises:
            GrootRayError: the attempt failed before its driver was submitted; its end is recorded.
        """
        attempt = self._claim(folder)
        if attempt is None:
            return None
        submission = submission_id(self.settings, folder, attempt.number)

        def check() -> None:
            """Raise if a stop was requested or another attempt has taken over."""
            with suppress(ServiceUnavailableError):
                attempt.stoppable.check()

        with kept_until_submitted(attempt):
            self.deadline.check(folder)
            self.ray_cluster.start(check)
            seconds = (self.document.cluster or ClusterOptions()).ray.start_timeout
            jobs = wait_for_ray(self.ray_cluster, seconds, self._expected_ray(), check)
            entrypoint = f"python -m groot_ray.cluster.driver {self.settings.stage}"
            environment = self._environment(attempt, submission)
            submit_patiently(jobs, submission, entrypoint, environment, LOST_AFTER, check)
            log.info("submitted attempt %d as %s", attempt.number, submission)
        return Submitted(attempt.number, submission, jobs)

    def _claim(self, folder: Location) -> Attempt | None:
        """Claim the next attempt, after the end of a running one; None if the stage is done meanwhile."""
        settings = self.settings
        return claim_attempt(
            folder,
            about={RELEASE: settings.release, DIGEST: settings.digest, MODE: settings.mode, JOB: job_name()},
            name=lambda number: {SUBMISSION: submission_id(settings, folder, number)},
            until=lambda: inspect_stage(self.document, settings.stage).done,
            poll=self.poll,
        )

    def _environment(self, attempt: Attempt, submission: str) -> dict[str, str]:
        """The variables that the driver reads."""
        environment = {
            DOCUMENT: document_variable(self.document.model_dump_json(by_alias=True)),
            "GROOT_RAY_ATTEMPT": f"{attempt.number}:{attempt.ticket.owner}",
            "GROOT_RAY_LEASE": attempt.folder.uri,
            "GROOT_RAY_SUBMISSION": submission,
        }
        if self.settings.mode != "external":
            gpus = (self.document.cluster or ClusterOptions()).ray.gpu.gpus
            environment[VERSIONS] = json.dumps(shared_versions())
            environment[GROWTH] = json.dumps(self.settings.growth(gpus))
        return environment

    def _expected_ray(self) -> str:
        """The Ray version of this image, which a cluster of ours must run too; empty for an external cluster."""
        return "" if self.settings.mode == "external" else shared_versions().get("ray", "")


@contextmanager
def kept_until_submitted(attempt: Attempt) -> Iterator[None]:
    """Keep an attempt's heartbeat until its driver, once submitted, takes it over; record an earlier failure."""
    try:
        yield
    except PodTerminated as error:
        attempt.__exit__(TemporaryFailureError, TemporaryFailureError(error.sentence), None)
        raise
    except BaseException as error:
        attempt.__exit__(type(error), error, error.__traceback__)
        raise
    else:
        attempt.hand_over()
