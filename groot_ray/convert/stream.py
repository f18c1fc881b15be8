"""Runs a function for many indices on Ray Data, one task each, and yields results as they finish."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from groot_ray.errors import GrootRayError, TemporaryFailureError
from groot_ray.ray_session import ensure_ray
from groot_ray.system_errors import explained_system_errors
from groot_ray.versions import check_node

Payload = TypeVar("Payload")
Result = TypeVar("Result")


class Raised(NamedTuple):
    """A task's error for the user, returned as a value so that Ray does not wrap it."""

    error: GrootRayError


# Tasks of one kind share worker processes: the payload is fetched and unpacked once per process.
_shared: dict[str, Any] = {}


def stream(
    function: Callable[[Payload, int], Result], payload: Payload, count: int, workers: int | None = None
) -> Iterator[tuple[int, Result]]:
    """Yield (i, function(payload, i)) for i in 0 .. count - 1, in order of completion.

    `payload` is sent to each worker process once. At most `workers` tasks run at a time, by default one per CPU;
    memory does not grow with `count`. Ray reruns a task whose worker dies. Errors of `function`
    are raised here.

    Raises `TemporaryFailureError` if workers die repeatedly.
    """
    import ray
    import ray.exceptions

    if not count:
        return
    ensure_ray()
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    shared = ray.put(payload)

    def run(row: dict[str, Any]) -> dict[str, Any]:
        number = int(row["id"])
        try:
            check_node()
            with explained_system_errors():
                result: Any = function(_fetch(shared), number)
        except GrootRayError as error:
            result = Raised(error)
        return {"number": number, "result": pickle.dumps(result)}

    compute = None if workers is None else ray.data.TaskPoolStrategy(size=workers)
    dataset = ray.data.range(count, override_num_blocks=count).map(run, compute=compute, num_cpus=1)
    try:
        for row in dataset.iter_rows():
            result = pickle.loads(row["result"])
            if isinstance(result, Raised):
                raise result.error
            yield row["number"], result
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError) as error:
        reason = " ".join(str(error).split())[:300]
        raise TemporaryFailureError(f"a worker died repeatedly ({reason}); try again with fewer workers") from error


def nodes() -> int:
    """Number of machines on which tasks may run."""
    import ray

    ensure_ray()
    return sum(bool(node["Alive"]) for node in ray.nodes())  # type: ignore[no-untyped-call]


def _fetch(reference: Any) -> Any:
    import ray

    name = reference.hex()
    if name not in _shared:
        _shared.clear()
        _shared[name] = ray.get(reference)
    return _shared[name]
