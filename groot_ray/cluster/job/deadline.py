"""The deadline of a stage: how long the attempts of its Job may work in total."""

from __future__ import annotations

from dataclasses import dataclass

from groot_ray.cluster.job.record import JOB, job_name
from groot_ray.cluster.job.stopping import stop_and_wait
from groot_ray.errors import ServiceUnavailableError, StoppedError
from groot_ray.experiment.cluster import ClusterOptions
from groot_ray.experiment.document import Document
from groot_ray.progress import format_duration
from groot_ray.stages.place import planning_folder
from groot_ray.storage.lease import ATTEMPTS, silence
from groot_ray.storage.location import Location


@dataclass(frozen=True)
class Deadline:
    """The deadline of a document's stage; `poll` is the seconds between two looks while the stage saves."""

    document: Document
    stage: str
    poll: float

    def check(self, folder: Location) -> None:
        """Stop the stage if it has worked for too long. Waiting is not work.

        Args:
            folder: where its attempts are.

        Raises:
            StoppedError: the deadline has passed; the attempt had time to save.
        """
        options = self.document.cluster or ClusterOptions()
        stage = options.stages.get(self.stage)
        if stage is None or stage.deadline is None:
            return
        folders = {
            planning_folder(self.document.experiment, self.stage),
            folder,
        }  # of attempts before and after the plan
        try:
            if sum(worked(where, job_name()) for where in folders) < stage.deadline:
                return
        except ServiceUnavailableError:
            return  # storage does not answer; the next check decides
        stop_and_wait(folder, options.ray.save_seconds + 60, self.poll)
        raise StoppedError(
            f"{self.stage} worked for longer than its deadline of {format_duration(stage.deadline)}; "
            f"raise cluster.stages.{self.stage}.deadline"
        )


def worked(folder: Location, job: str) -> float:
    """Seconds that all attempts claimed by the Job named `job` have worked at the stage in `folder`.

    An attempt works from when its driver adopts it until its end or last sign. Waiting for nodes, a queue or the next
    try is not work. All times are by the storage's clock.
    """
    times = {e.relative.removesuffix(".json"): e.modified for e in (folder / ATTEMPTS).list(recursive=False)}
    claimed = sorted(int(name) for name in times if name.isdigit())
    seconds = 0.0
    for number in claimed:
        begun = times.get(f"{number}.adopted")
        if begun is None or _claimed_by(folder, number) != job:
            continue
        ended = times.get(f"{number}.end")
        if ended is None:
            sign = max(begun, times.get(f"{number}.heartbeat", begun))
            now = (folder / ATTEMPTS / f"{number}.json").clock()
            ended = now if number == claimed[-1] and now - sign < silence() else sign
        seconds += max(ended - begun, 0.0)
    return seconds


def _claimed_by(folder: Location, number: int) -> str | None:
    """The Job that claimed an attempt; None if none did, such as for a laptop's."""
    return ((folder / ATTEMPTS / f"{number}.json").read_json().get("holder") or {}).get(JOB)
