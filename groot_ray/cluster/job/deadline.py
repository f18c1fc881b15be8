"""How long a stage has worked, from the records of its attempts: what a deadline is compared with."""

from __future__ import annotations

from groot_ray.storage.lease import ATTEMPTS, silence
from groot_ray.storage.location import Location

JOB = "job"  # in an attempt's record: the Kubernetes Job that claimed it; empty for one outside Kubernetes


def worked(folder: Location, job: str) -> float:
    """Seconds that the attempts at the stage in `folder` have worked which the Job named `job` has claimed, all together.

    An attempt works from when its driver adopts it up to its end, or to its last sign. Waiting for nodes, for quota in a queue, or for
    the next try is not work. All times are those of storage.
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
    """The Job of an attempt; None for one that no Job has claimed, a laptop's say."""
    return ((folder / ATTEMPTS / f"{number}.json").read_json().get("holder") or {}).get(JOB)
