"""What a stage's Job sees: the stage and its attempt in storage, and its Ray clusters in Kubernetes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_fixed

from groot_ray.cluster.job.clusters import StageClusters
from groot_ray.cluster.job.next_action import ClusterView, View, is_of_release
from groot_ray.cluster.job.predecessor import Predecessor
from groot_ray.cluster.kube.settings import StageSettings
from groot_ray.errors import ServiceUnavailableError
from groot_ray.experiment.document import Document
from groot_ray.stages.place import planning_folder
from groot_ray.stages.state import StageState, inspect_stage
from groot_ray.storage.lease import AttemptState, last_attempt
from groot_ray.storage.location import Location

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Seen:
    """One look: the arguments of `next_action`, and the folder of the attempt."""

    view: View
    attempt: AttemptState | None
    cluster: ClusterView
    folder: Location


@dataclass
class Observer:
    """Looks at one stage of one release; `poll` is the seconds between tries while storage is away."""

    document: Document
    settings: StageSettings
    clusters: StageClusters
    predecessor: Predecessor
    poll: float
    _said: str = ""

    def observe(self) -> Seen:
        """Look at everything that `next_action` decides by. Waits while storage is away."""
        stage = patiently(lambda: inspect_stage(self.document, self.settings.stage), self.poll, self.say)
        attempt, folder, at_plan = patiently(lambda: self._attempt(stage), self.poll, self.say)
        is_open = attempt is not None and not attempt.ended
        view = View(
            stage=stage,
            release=self.settings.release,
            digest=self.settings.digest,
            mode=self.settings.mode,
            at_plan=at_plan,
            lost_inputs="" if stage.done or stage.ready else self.predecessor.lost(stage),
        )
        cluster = ClusterView() if stage.done and not at_plan else self.clusters.observe(is_open)
        return Seen(view, attempt, cluster, folder)

    def say(self, sentence: str) -> None:
        """Log what is waited for, when it changes."""
        if sentence != self._said:
            log.info("%s", sentence)
            self._said = sentence

    def _attempt(self, stage: StageState) -> tuple[AttemptState | None, Location, bool]:
        """The last attempt, its folder, and whether it is a running one beside the plan."""
        planning = planning_folder(self.document.experiment, self.settings.stage)
        planner = last_attempt(planning)
        # An attempt that makes the plan learns the stage's folder on the way; its record stays where it began.
        if planner is not None and planner.alive and is_of_release(planner, self.settings.release):
            return planner, planning, True
        return (planner if stage.folder == planning else last_attempt(stage.folder)), stage.folder, False


def patiently(read: Callable[[], T], poll: float, say: Callable[[str], object]) -> T:
    """Read from storage, however long it is away; `say` gets the reason before each new try, every `poll` seconds."""

    def explain(retry: RetryCallState) -> None:
        say(str(retry.outcome.exception() if retry.outcome is not None else ""))

    tries = Retrying(
        retry=retry_if_exception_type(ServiceUnavailableError), wait=wait_fixed(poll), before_sleep=explain
    )
    return tries(read)
