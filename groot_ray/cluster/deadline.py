"""How long a stage has worked, from the records of its attempts: what a deadline is compared with."""

from __future__ import annotations

from groot_ray.storage.lease import ATTEMPTS, silence
from groot_ray.storage.location import Location


def worked(folder: Location, since: float = 0.0) -> float:
    """Seconds that the attempts at the stage in `folder` have worked which were claimed after `since` (Unix seconds), all together.

    An attempt that a Job claims for its driver works from when the driver adopts it, any other from its claim; both up to their end, or
    to their last sign. Waiting for nodes, for quota in a queue, or for the next try is not work. All times are those of storage.
    """
    times = {e.relative.removesuffix(".json"): e.modified for e in (folder / ATTEMPTS).list(recursive=False)}
    claimed = sorted(int(name) for name in times if name.isdigit())
    seconds = 0.0
    for number in claimed:
        begun = times.get(f"{number}.adopted")
        if times[str(number)] < since or (begun is None and _is_claimed_by_job(folder, number)):
            continue
        begun = times[str(number)] if begun is None else begun
        ended = times.get(f"{number}.end")
        if ended is None:
            sign = times.get(f"{number}.heartbeat", begun)
            now = (folder / ATTEMPTS / f"{number}.json").clock()
            ended = now if number == claimed[-1] and now - sign < silence() else sign
        seconds += max(ended - begun, 0.0)
    return seconds


def _is_claimed_by_job(folder: Location, number: int) -> bool:
    return "release" in ((folder / ATTEMPTS / f"{number}.json").read_json().get("holder") or {})
